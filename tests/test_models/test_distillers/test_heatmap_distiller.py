import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from mmpose.models import build_pose_estimator
from mmpose.structures import PoseDataSample

from lgm_pose_plugin.models.builder import build_model, load_config

SIZE = (64, 64)
MAPS = (16, 16)
UDP = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=MAPS, sigma=1.5)
SOFTMAX = dict(UDP, type='SoftmaxUDPHeatmap')
MSE = dict(type='KeypointMSELoss', use_target_weight=True)
CROSS_ENTROPY = dict(type='KeypointCrossEntropyLoss')


def lgm_pose(decoder, loss):
    """Config of a student or teacher."""
    model = load_config('lgm-pose').model
    model.backbone.input_size = SIZE
    model.head.update(out_channels=5, decoder=decoder, loss=loss)
    return model


def write(folder, model, name='teacher', **others):
    """Files of a network with random weights."""
    torch.manual_seed(1)
    network = build_pose_estimator(model)
    network.init_weights()
    network.eval()
    with torch.no_grad():  # else maps are nearly zero
        maps = network(torch.rand(2, 3, *SIZE), None, mode='tensor')
        network.head.final_layer.weight /= maps.std()
    Config(dict(model=model, **others)).dump(str(folder / f'{name}.py'))
    torch.save(
        dict(state_dict=network.state_dict()), str(folder / f'{name}.pth'))
    return dict(
        teacher_config=str(folder / f'{name}.py'),
        teacher_checkpoint=str(folder / f'{name}.pth')), network


def distiller(model, teacher, **kwargs):
    torch.manual_seed(0)
    built = build_pose_estimator(
        dict(model, type='HeatmapDistiller', **teacher, **kwargs))
    built.init_weights()
    return built


def samples(labels, weights):
    out = []
    for maps, weight in zip(labels, weights):
        sample = PoseDataSample()
        sample.gt_fields = PixelData(heatmaps=maps.clone())
        sample.gt_instance_labels = InstanceData(keypoint_weights=weight[None])
        out.append(sample)
    return out


@pytest.fixture
def batch():
    """Images, labels of Gaussians, and weights; one point has no label."""
    torch.manual_seed(2)
    y, x = torch.arange(MAPS[1])[:, None], torch.arange(MAPS[0])
    centers = torch.rand(2, 2, 5, 1, 1) * 10 + 3
    labels = torch.exp(-((x - centers[0])**2 + (y - centers[1])**2) / 4.5)
    weights = torch.ones(2, 5)
    labels[0, 0], weights[0, 0] = 0, 0
    return torch.rand(2, 3, *SIZE), labels, weights


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.promise('distillation')
@pytest.mark.parametrize('weight', [0.3, 1])
@pytest.mark.parametrize('decoder, loss', [(UDP, MSE),
                                           (SOFTMAX, CROSS_ENTROPY)])
def test_gradient_is_that_of_both_losses(tmp_path, batch, decoder, loss,
                                         weight):
    """Of arXiv 1811.05419, with the teacher's loss written out."""
    model = lgm_pose(decoder, loss)
    files, teacher = write(tmp_path, model)
    network = distiller(model, files, teacher_weight=weight).eval()
    images, labels, weights = batch
    given = gradients(
        network,
        network.loss(images, samples(labels, weights))['loss_kpt'])

    with torch.no_grad():
        taught = teacher(images, None, mode='tensor')
    if decoder is SOFTMAX:
        taught = taught.flatten(2).softmax(2).view_as(taught)
        # Labels at the border have less mass than the teacher's maps.
        taught = taught * network.head.decoder.mass
        total = labels.sum((2, 3), keepdim=True)
        share = weight * network.head.decoder.mass / (
            weight * network.head.decoder.mass + (1 - weight) * total)
    else:
        taught = taught.clamp(min=0)
        share = torch.full((2, 5, 1, 1), float(weight))
    output = network(images, None, mode='tensor')
    if loss is MSE:
        both = ((1 - share) * (output - labels)**2 + share *
                (output - taught)**2)
        both = (both * weights[..., None, None]).mean()
    else:
        log = output.flatten(2).log_softmax(2).view_as(output)
        labels = labels / labels.sum((2, 3), keepdim=True).clamp(min=1e-6)
        taught = taught / taught.sum((2, 3), keepdim=True)
        both = -((1 - share) * labels * log + share * taught * log).sum((2, 3))
        both = (both * weights).sum() / weights.sum()
    expected = gradients(network, both)
    assert any(grad.abs().max() > 1e-4 for grad in expected.values())
    for name, grad in expected.items():
        torch.testing.assert_close(
            given[name], grad, rtol=1e-3, atol=1e-6, msg=name)


def test_learns_what_the_teacher_knows(tmp_path, batch):
    model = lgm_pose(UDP, MSE)
    files, teacher = write(tmp_path, model)
    network = distiller(model, files, teacher_weight=1)
    images, labels, weights = batch
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(8):
        loss = network.loss(images, samples(labels, torch.ones(2,
                                                               5)))['loss_kpt']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    # The teacher itself has not changed.
    for name, value in network._teacher[0].state_dict().items():
        assert torch.equal(value, teacher.state_dict()[name])


def test_points_without_label_are_not_learnt(tmp_path, batch):
    """Also where the loss does not know which they are."""
    model = lgm_pose(UDP, dict(type='KeypointMSELoss'))
    network = distiller(model, write(tmp_path, model)[0])
    images, labels, weights = batch
    learnt = samples(labels, weights)
    network.loss(images, learnt)
    maps = torch.stack([sample.gt_fields.heatmaps for sample in learnt])
    assert (maps - labels).abs().amax((2, 3)).gt(.01).equal(weights > 0)


def test_points_without_label_are_learnt_from_the_teacher(tmp_path, batch):
    model = lgm_pose(SOFTMAX, CROSS_ENTROPY)
    network = distiller(
        model, write(tmp_path, model)[0], unlabelled_weight=0.5)
    images, labels, weights = batch
    learnt = samples(labels, weights)
    network.loss(images, learnt)
    sample = learnt[0]
    weights = sample.gt_instance_labels.keypoint_weights
    assert weights.tolist() == [[.5, 1, 1, 1, 1]]
    taught = network.teach(images)[0]
    torch.testing.assert_close(sample.gt_fields.heatmaps[0], taught[0])
    torch.testing.assert_close(sample.gt_fields.heatmaps[1],
                               (labels[0, 1] + taught[1]) / 2)


def test_several_stages(tmp_path, batch):
    """LAPX learns from LGM-Pose; each stage has its loss."""
    files, _ = write(tmp_path, lgm_pose(UDP, MSE))
    model = load_config('lapx').model
    model.backbone.update(num_keypoints=5, channels=32, depth=1)
    model.head.update(out_channels=5, decoder=UDP)
    network = distiller(model, files)
    images, labels, weights = batch
    losses = network.loss(images, samples(labels, weights))
    losses['loss_kpt'].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.promise('distillation')
def test_checkpoints_are_the_students(tmp_path):
    model = lgm_pose(UDP, MSE)
    files, _ = write(tmp_path, model)
    network = distiller(model, files)
    network.teach(torch.rand(1, 3, *SIZE))
    student = build_pose_estimator(model)
    assert student.state_dict().keys() == network.state_dict().keys()
    assert len(list(student.parameters())) == len(list(network.parameters()))
    assert not network._teacher[0].training
    network.train()
    assert not network._teacher[0].training


@pytest.mark.promise('distillation')
def test_inference_opens_no_teacher(batch):
    absent = dict(teacher_config='absent.py', teacher_checkpoint='absent.pth')
    network = distiller(lgm_pose(UDP, MSE), absent).eval()
    assert network(batch[0], None, mode='tensor').shape == (2, 5, *MAPS)
    with pytest.raises(ValueError, match="no config 'absent.py'"):
        network.loss(batch[0], samples(*batch[1:]))


def test_draws_no_numbers(tmp_path, batch):
    """As a training that is resumed opens the teacher later."""
    model = lgm_pose(UDP, MSE)
    files, _ = write(tmp_path, model)
    network = distiller(model, files)
    state = torch.random.get_rng_state()
    network.teach(batch[0])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize('weight, found', [
    (dict(teacher_weight=0), 'at most 1, got 0'),
    (dict(teacher_weight=1.1), 'at most 1, got 1.1'),
    (dict(unlabelled_weight=-1), 'at least 0, got -1'),
])
def test_weights_are_checked(weight, found):
    with pytest.raises(ValueError, match=found):
        distiller(
            lgm_pose(UDP, MSE),
            dict(teacher_config='a.py', teacher_checkpoint='a.pth'), **weight)


@pytest.mark.promise('distillation')
def test_teachers_that_do_not_fit(tmp_path, batch):
    student = lgm_pose(UDP, MSE)
    other = lgm_pose(UDP, MSE)
    other.head.out_channels = 4
    network = distiller(student, write(tmp_path, other)[0])
    with pytest.raises(ValueError, match=r'\(4, 16, 16\).*\(5, 16, 16\)'):
        network.loss(batch[0], samples(*batch[1:]))

    for preprocessor in (dict(student.data_preprocessor,
                              std=[1, 1,
                                   1]), dict(type='PoseDataPreprocessor')):
        other = lgm_pose(UDP, MSE)
        other.data_preprocessor = preprocessor
        network = distiller(student, write(tmp_path, other)[0])
        with pytest.raises(ValueError, match='another (mean|std)'):
            network.loss(batch[0], samples(*batch[1:]))

    other = lgm_pose(UDP, MSE)
    other.data_preprocessor.bgr_to_rgb = False
    network = distiller(student, write(tmp_path, other)[0])
    with pytest.raises(ValueError, match='another .*bgr_to_rgb'):
        network.loss(batch[0], samples(*batch[1:]))

    files, _ = write(
        tmp_path,
        student,
        train_dataloader=dict(dataset=dict(type='CrowdPoseDataset')))
    network = distiller(student, files)
    flipped = samples(*batch[1:])
    flipped[0].set_metainfo(dict(flip_indices=[5, 4, 3, 2, 1, 0]))
    with pytest.raises(ValueError, match=r'\[1, 0, 3.*\[5, 4, 3, 2, 1, 0\]'):
        network.loss(batch[0], flipped)
    flipped[0].set_metainfo(
        dict(flip_indices=network._teacher[0].dataset_meta['flip_indices']))
    network.loss(batch[0], flipped)

    other = lgm_pose(dict(UDP, type='MSRAHeatmap'), MSE)
    network = distiller(student, write(tmp_path, other)[0])
    with pytest.raises(
            ValueError,
            match=r'another kind of codec \(without UDP\) .* \(UDP\)'):
        network.loss(batch[0], samples(*batch[1:]))

    network = distiller(student, dict(teacher_config='lgm-pose'))
    with pytest.raises(
            ValueError, match="'lgm-pose' is not a model with publ"):
        network.loss(batch[0], samples(*batch[1:]))

    files, _ = write(tmp_path, student)
    network = distiller(student, dict(files, teacher_checkpoint='absent.pth'))
    with pytest.raises(FileNotFoundError, match='absent.pth'):
        network.loss(batch[0], samples(*batch[1:]))


@pytest.mark.e2e
def test_teacher_of_the_coco_config(tmp_path):
    """But for its weights, which are downloaded."""
    cfg = load_config('td-hm_lgm-pose-distilled_8xb64-210e_coco-256x192')
    teacher = build_model(load_config(cfg.model.teacher_config))
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=teacher.state_dict()), str(path))
    network = build_pose_estimator(
        dict(cfg.model, teacher_checkpoint=str(path)))
    taught = network.teach(torch.rand(1, 3, 256, 192))
    assert taught.shape == (1, 17, *cfg.codec.heatmap_size[::-1])
    assert taught.min() == 0
