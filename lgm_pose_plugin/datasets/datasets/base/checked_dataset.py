"""Data sets that do not train on what is broken."""
import collections
import logging
import os.path as osp
from typing import Any, Dict, List, Optional, Tuple

import cv2
import numpy as np
from mmengine.logging import print_log
from mmpose.datasets import BaseCocoStyleDataset
from mmpose.structures import PoseDataSample
from torch import Tensor

from lgm_pose_plugin.utils.files import read_json

REMEDY = ('Mend it, remove it from the data set, or skip broken data with '
          "on_bad='skip' in the data set's config, see docs/robustness.md")
# Where a picture that cannot be read is looked at: so far from all people that
# whatever is predicted there is wrong.
_FAR_AWAY = -1e6


class BadDataError(ValueError):
    """A picture or an annotation that cannot be used; the message names it."""


ADD_CATEGORIES = 'Add "categories": [{"id": 1, "name": "person"}]'


class CheckedDataset(BaseCocoStyleDataset):
    """Data set of MMPose that checks its annotations and samples.

    Put it before the data set of MMPose in the list of bases. It checks

    - annotations, when they are loaded: their form, the number of key points,
      ids, and that all numbers are finite;
    - pictures, when they are needed (:class:`LoadCheckedImage` does it);
    - the finished sample: inputs and targets are finite.

    With ``on_bad='stop'`` the first bad one ends the run. With
    ``on_bad='skip'`` training takes other samples instead, and
    :class:`SkippedDataHook` lists what was skipped. Ids and categories that
    MMPose or its metrics cannot use stop a run in both modes.

    In test mode skipping must not change the metric. A person whose picture
    cannot be read counts as missed by every metric, with key points far
    outside of the picture and a score of 0. Bad annotations of a test set stop
    the run, since the metric is computed with them. Boxes of a ``bbox_file``
    may be skipped.

    MMPose leaves out crowds, people without key points, and boxes that have
    no area within the image. They are not bad. The log counts them.

    Args:
        on_bad (str): ``'stop'`` or ``'skip'``. Defaults to ``'stop'``.

    Attributes:
        skipped (list[dict]): The annotations that were skipped while loading:
            ``image``, ``annotation`` and ``reason``.

    Raises:
        ValueError: If ``on_bad`` is neither of these, or ``data_mode`` is not
            ``'topdown'``.
        BadDataError: If an annotation is bad, or none is left.
    """

    coco: Any = None  # MMPose 1.1 sets none for MPII

    def __init__(self, *args, on_bad: str = 'stop', **kwargs):
        if on_bad not in ('stop', 'skip'):
            raise ValueError(f"on_bad={on_bad!r}; use 'stop' or 'skip'")
        self.on_bad = on_bad
        self.skipped: List[Dict[str, Any]] = []
        # Since the last good sample, in this process.
        self._pending: List[Dict[str, Any]] = []
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Load the annotations, see the base class.

        Raises:
            BadDataError: If a file is not an annotation file, an annotation is
                bad, or none is left.
        """
        if self.data_mode != 'topdown':
            raise ValueError(
                f'{type(self).__name__} is for top-down networks, not for '
                f'data_mode={self.data_mode!r}; use a data set of MMPose')
        files = ' or '.join(filter(None, (self.bbox_file, self.ann_file)))
        try:
            people = super().load_data_list()
        except BadDataError:
            raise
        except Exception as error:  # of whatever another format leads to
            raise BadDataError(f'{files} cannot be read as '
                               f'{type(self).__name__}: {error!r}') from error
        if not people:
            raise BadDataError(f'{files}: there is nobody to train or test on;'
                               ' the log says who was left out or skipped')
        return people

    def _load_annotations(self) -> Tuple[List[dict], List[dict]]:
        try:
            people, images = super()._load_annotations()
        except BadDataError:
            raise
        except Exception:
            # MMPose fails at ids of other types, and does not name them.
            data = osp.isfile(self.ann_file) and read_json(self.ann_file)
            if isinstance(data, dict):
                self._check_file(data)
                if 'categories' not in data:
                    raise BadDataError(
                        f'{self.ann_file}: it has no categories, which '
                        f'xtcocotools needs. {ADD_CATEGORIES}')
            raise
        if self.coco:  # not so of MPII
            self._check_file(self.coco.dataset)
        people = self._without_bad(people, self.ann_file)
        number = sum(map(self._is_valid_instance, people))
        print_log(
            f'{self.ann_file}: {number} people; {len(people) - number} crowds,'
            ' people without key points and boxes without area in the image '
            f'left out; {len(self.skipped)} skipped', 'current')
        if self.test_mode and self.coco and any(
                'area' not in one for one in self.coco.anns.values()):
            print_log(
                f'{self.ann_file}: some people have no area, which CocoMetric '
                'needs. Add it, or set use_area=False of the metric',
                'current', logging.WARNING)
        return people, images

    def _check_file(self, data: dict) -> None:
        """Refuse ids and categories with which nothing can be measured."""
        reason = find_fault_of_ids(data, self.test_mode)
        people = data.get('annotations', [])
        if reason is None and self.test_mode and people and not data.get(
                'categories'):
            reason = ('it has no categories, which the metric needs. '
                      f'{ADD_CATEGORIES}')
        if reason:
            raise BadDataError(f'{self.ann_file}: {reason}')
        known = {image['id'] for image in data['images']}
        lost = [one for one in people if one.get('image_id') not in known]
        if lost:
            print_log(
                f'{self.ann_file}: {len(lost)} annotations are of images that '
                'it does not list, the first of the image '
                f'{lost[0].get("image_id")!r}; they are left out', 'current',
                logging.WARNING)

    def _load_detection_results(self) -> List[dict]:
        # Not for the samples; the metric reads these annotations.
        self._load_annotations()
        people = super()._load_detection_results()
        # Boxes have COCO's category 1 for people, the annotations may not.
        categories = {
            annotation['category_id']
            for annotation in self.coco.anns.values()
            if annotation.get('keypoints')
        }
        for person in people if len(categories) == 1 else ():
            person['category_id'] = np.array(*categories)
        return self._without_bad(people, self.bbox_file)

    def parse_data_info(self, raw_data_info: dict) -> Optional[dict]:
        """Parse an annotation of a COCO-style file, see the base class.

        Returns:
            dict or None: The annotation with the ``img_shape``, height and
            width, in the file; ``None`` if it is left out.

        Raises:
            BadDataError: If it is bad and must not be skipped.
        """
        annotation = raw_data_info['raw_ann_info']
        image = raw_data_info['raw_img_info']
        if not annotation.get('keypoints'):
            return None
        try:
            for name in ('bbox', 'keypoints'):
                # Here already: infinity is clipped to the image, and as a
                # visibility to 1.
                values = np.array(annotation[name], np.float32)
                if not np.isfinite(values).all():
                    raise ValueError(f'{name} is not finite')
            # Where a file has no categories.
            annotation.setdefault('category_id', 1)
            person = super().parse_data_info(raw_data_info)
            # MMPose 1.1 leaves it to the metric.
            person.setdefault('area', annotation.get('area', 0))
            person['img_shape'] = image['height'], image['width']
            return person
        except Exception as error:  # of whatever another type leads to
            self._refuse(
                dict(img_path=image['img_path'], id=annotation.get('id')),
                self.ann_file, f'it cannot be read: {error!r}')
            return None

    def _without_bad(self, people: List[dict],
                     file: Optional[str]) -> List[dict]:
        # xtcocotools keeps the last one of an id and takes it for all.
        ids = collections.Counter(person['id'] for person in people)
        images = self.coco.dataset['images'] if self.coco else ()
        names = {(image['id'], image['file_name']) for image in images}
        files = collections.Counter(number for number, _ in names)
        good = []
        for person in people:
            # Of Windows, where labelling tools write them.
            if osp.sep == '/' and not osp.exists(person['img_path']):
                person['img_path'] = person['img_path'].replace('\\', '/')
            if ids[person['id']] > 1:
                reason: Optional[str] = 'its id is used more than once'
            elif files[person['img_id']] > 1:
                reason = f'the image id {person["img_id"]} has several files'
            else:
                reason = find_fault(person, self._metainfo['num_keypoints'])
            if reason:
                self._refuse(person, file, reason)
            else:
                good.append(person)
        return good

    def _refuse(self, person: dict, file: Optional[str], reason: str) -> None:
        may_skip = file == self.bbox_file or not self.test_mode
        if self.on_bad == 'stop' or not may_skip:
            remedy = REMEDY if may_skip else (
                'Mend it or remove it from the file: the metric needs it')
            raise BadDataError(f'{file}: annotation {person["id"]} of '
                               f'{person["img_path"]}: {reason}. {remedy}')
        self.skipped.append(_record(person, reason))

    def prepare_data(self, idx: int) -> Optional[Dict[str, Any]]:
        """Make a sample.

        Args:
            idx (int): Its index.

        Returns:
            dict or None: ``inputs`` and ``data_samples``. Their metainfo has
            ``skipped``, a list as the attribute, if samples had to be skipped
            before it. ``None`` if this one is, upon which the base class
            takes another one by chance, up to ``max_refetch`` times.

        Raises:
            BadDataError: If it is bad and must not be skipped.
        """
        try:
            sample = super().prepare_data(idx)
            if 'data_samples' in (sample or ()):
                for name, value in dict(
                        target_tensors(sample['data_samples']),
                        inputs=sample['inputs']).items():
                    if not value.isfinite().all():
                        raise BadDataError(
                            f'after the pipeline, {name} is not finite')
        except (BadDataError, cv2.error) as error:
            info = self.get_data_info(idx)
            if self.on_bad == 'stop':
                raise BadDataError(
                    f'annotation {info["id"]} of '
                    f'{info["img_path"]}: {error}. {REMEDY}') from error
            self._pending.append(_record(info, str(error)))
            if not self.test_mode:
                return None
            # In place of the one that cannot be read.
            info.update(
                img=np.zeros((1, 1, 3), np.uint8),
                bbox_center=np.full((1, 2), _FAR_AWAY, np.float32),
                bbox_scale=np.ones((1, 2), np.float32),
                bbox_score=np.zeros(1, np.float32))
            sample = self.pipeline(info)
        if sample and self._pending:
            if 'data_samples' in sample:
                sample['data_samples'].set_metainfo(
                    dict(skipped=self._pending))
            else:  # CombinedDataset makes the sample
                for one in self._pending:
                    print_log(
                        f'skipped annotation {one["annotation"]} of '
                        f'{one["image"]}: {one["reason"]}', 'current',
                        logging.WARNING)
            self._pending = []
        return sample


def find_fault_of_ids(data: Dict[str, Any], measured: bool) -> Optional[str]:
    """Find an id that pycocotools takes for another one or for none.

    Args:
        data (dict): An annotation file in COCO's format.
        measured (bool): Whether the ids of annotations matter, too, as they
            do to metrics.

    Returns:
        str or None: The first fault with its id and the remedy, if there is
        one.
    """
    remedy = 'Number {} by whole numbers from 0'
    for image in data.get('images', []):
        if type(image.get('id')) is not int:
            return (
                f'the image id {image.get("id")!r} is not a whole number. ' +
                remedy.format('images, and image_id of annotations,'))
    for annotation in data.get('annotations', []) if measured else ():
        number = annotation.get('id')
        try:
            usable = int(number) == float(number) >= 0
        except (OverflowError, TypeError, ValueError):
            usable = False
        if not usable:
            return (f'the annotation id {number!r} is not a whole number from '
                    f'0. {remedy.format("annotations")}')
    return None


def find_fault(person: dict, num_keypoints: int) -> Optional[str]:
    """Find what is wrong with a person's data.

    Args:
        person (dict): As MMPose's data sets hold it; looked at are
            ``keypoints``, ``(1, K, 2)``, ``keypoints_visible``, ``(1, K)``,
            and, if there, ``bbox``, ``bbox_score``, ``bbox_center``,
            ``bbox_scale``, ``area`` and ``head_size``.
        num_keypoints (int): K, the number of key points of the data set.

    Returns:
        str or None: The fault, if there is one.
    """
    for name in ('keypoints', 'keypoints_visible'):
        found = person[name].shape[1]
        if found != num_keypoints:
            return f'it has {found} {name} instead of {num_keypoints}'
    for name in ('keypoints', 'keypoints_visible', 'bbox', 'bbox_score',
                 'bbox_center', 'bbox_scale', 'area', 'head_size'):
        try:
            values = np.asarray(person.get(name, 0), np.float64)
        except (TypeError, ValueError):
            return f'{name} is not a number'
        if not np.isfinite(values).all():
            return f'{name} is not finite'
        if name in ('keypoints_visible', 'area') and np.min(values) < 0:
            return f'{name} is below 0'
    return None


def _record(person: dict, reason: str) -> Dict[str, Any]:
    return dict(
        image=person['img_path'], annotation=person['id'], reason=reason)


def target_tensors(data_sample: PoseDataSample) -> Dict[str, Tensor]:
    """List the targets of a sample.

    Args:
        data_sample (PoseDataSample): What the pipeline packed.

    Returns:
        dict[str, Tensor]: The heat maps, labels and weights, by name.
    """
    return {
        name: value
        for field in ('gt_fields', 'gt_instance_labels')
        for name, value in data_sample.get(field, {}).items()
        if isinstance(value, Tensor)
    }
