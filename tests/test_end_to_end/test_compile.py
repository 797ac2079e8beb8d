"""Trainings with ``compile=True`` in the config."""
import pytest
import torch
from mmengine.runner import Runner

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not hasattr(torch, 'compile'), reason='torch < 2 has no compile'),
]


# Eager, the code is traced as for others, and not compiled for minutes.
@pytest.mark.parametrize('backend', ['eager'])
def test_training_compiles(rendered_run, backend):
    """With a validation, and to the weights of a training without."""
    losses = []

    def train(**options):
        cfg = rendered_run.copy()
        cfg.update(options, randomness=dict(seed=0))
        cfg.model.test_cfg.flip_test = False  # it is compiled once more
        # Adam's steps take longer to trace than the network.
        cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-3))
        runner = Runner.from_cfg(cfg)
        runner.train()
        losses.append(runner.message_hub.get_scalar('train/loss').data[0])
        return runner.model.state_dict()

    try:
        expected, found = train(), train(compile=dict(backend=backend))
    finally:
        torch._dynamo.reset()
    assert losses[0][0] == pytest.approx(losses[1][0])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)
