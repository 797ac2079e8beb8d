"""Data sets that do not train on what is broken."""
import collections
import logging
from typing import Any, Counter, Dict, List, Optional, Set, Tuple

import cv2
import numpy as np
from mmengine.logging import print_log
from mmpose.datasets import BaseCocoStyleDataset
from torch import Tensor

REMEDY = ("Mend it or take it out of the data set, or leave such ones out "
          "with on_bad='skip' in the data set's config, see "
          'docs/robustness.md')
# What a file of another format, or a value of another type, raises.
_MALFORMED = (AssertionError, AttributeError, IndexError, KeyError,
              OverflowError, RecursionError, TypeError, ValueError)
# Where a picture that cannot be read is looked at: so far from all people that
# whatever is predicted there is wrong.
_FAR_AWAY = -1e6


class BadDataError(ValueError):
    """A picture or an annotation that cannot be used; the message names it."""


class CheckedDataset(BaseCocoStyleDataset):
    """Data set of MMPose that checks its annotations and samples.

    It goes before the data set of MMPose in the list of bases. MMPose trains
    on some broken data without a word, and stops at others with an error that
    names neither file nor annotation. This checks

    - annotations, when they are loaded: their form, the number of key points,
      ids, and that all numbers are finite;
    - pictures, when they are needed (:class:`LoadCheckedImage` does it);
    - the finished sample: inputs and targets are finite.

    With ``on_bad='stop'`` the first bad one ends the run. With
    ``on_bad='skip'`` training takes others instead. In test mode the number
    of samples must stay, or the metric would change: a person whose picture
    cannot be read counts as missed by every metric, with key points far
    outside of the picture and a score of 0. Annotations of a test set must be
    right in any case, since the metric is computed with them; boxes of a
    ``bbox_file`` may be skipped. :class:`SkippedDataHook` lists what was
    skipped.

    What MMPose leaves out in training by its own rules (crowds, people
    without key points, boxes that have no area within the image) is not bad;
    it is counted in the log.

    Args:
        on_bad (str): ``'stop'`` or ``'skip'``. Defaults to ``'stop'``.

    Attributes:
        skipped (list[dict]): The annotations that were skipped while loading,
            and boxes without area: ``image``, ``annotation`` and ``reason``.

    Raises:
        ValueError: If ``on_bad`` is none of these, or ``data_mode`` not
            ``'topdown'``.
        BadDataError: If an annotation is bad, or none is left.
    """

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
        self._used_ids: Set[Any] = set()
        self._ambiguous_images: Optional[Set[Any]] = None
        files = ' or '.join(filter(None, (self.bbox_file, self.ann_file)))
        try:
            people = super().load_data_list()
        except BadDataError:
            raise
        except _MALFORMED as error:
            raise BadDataError(
                f'{files} cannot be read as {type(self).__name__} reads them: '
                f'{error!r}') from error
        if not people:
            raise BadDataError(
                f'{files}: there is nobody to train or test on; '
                f'{len(self.skipped)} annotations were skipped, see the log '
                'for those without key points')
        return people

    def _load_annotations(self) -> Tuple[List[dict], List[dict]]:
        people, images = super()._load_annotations()
        valid: List[dict] = []
        left_out: Counter[str] = collections.Counter()
        for person in people:
            if person['keypoints'].size and self._is_valid_instance(person):
                valid.append(person)
            elif person.get('iscrowd'):
                left_out['crowds'] += 1
            elif (person.get('num_keypoints') == 0
                  or np.max(person['keypoints'], initial=0) <= 0):
                left_out['people without key points'] += 1
            else:
                left_out['boxes without area in the image'] += 1
                self._list(person, 'the box has no area in the image')
        valid = self._without_bad(valid, may_skip=not self.test_mode)
        if self.test_mode and self.coco and any(
                'area' not in annotation
                for annotation in self.coco.anns.values()):
            print_log(
                f'{self.ann_file}: there are people without area, by which '
                'CocoMetric measures. Add it, or set use_area=False of the '
                'metric', 'current', logging.WARNING)
        print_log(
            f'{self.ann_file}: {len(valid)} people' +
            ''.join(f', {number} {what} left out'
                    for what, number in left_out.items()) +
            (f', {len(self.skipped)} listed as skipped'
             if self.skipped else ''), 'current')
        return valid, images

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
        if len(categories) == 1:
            category, = categories
            for person in people:
                person['category_id'] = np.array(category)
        return self._without_bad(people, True, f'{self.bbox_file}: person')

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
        person = None
        reason = self._ambiguity(annotation, image)
        if reason is None:
            try:
                person = super().parse_data_info(raw_data_info)
                height, width = image['height'], image['width']
                if (annotation.get('keypoints') and 'bbox' not in annotation
                        and not annotation.get('iscrowd')):
                    reason = 'it has no bbox'
                elif not (0 < height < np.inf and 0 < width < np.inf):
                    reason = f'its image is {width}x{height}'
                elif person:
                    # Here already: infinity is clipped to the image, and as
                    # a visibility to 1.
                    reason = next(
                        (f'{name} is not finite'
                         for name in ('bbox', 'keypoints') if not np.isfinite(
                             np.array(annotation[name], np.float32)).all()),
                        None)
            except _MALFORMED as error:
                reason = f'it cannot be read: {error!r}'
        if reason is not None:
            self._refuse(
                dict(img_path=image['img_path'], id=annotation.get('id')),
                reason,
                may_skip=not self.test_mode)
            return None
        if person is not None:
            person['img_shape'] = (height, width)
            # MMPose 1.1 leaves it to the metric.
            person.setdefault('area', annotation.get('area', 0))
        return person

    def _ambiguity(self, annotation: dict, image: dict) -> Optional[str]:
        """Why the annotation's or the image's id is ambiguous.

        xtcocotools keeps the last one of an id and takes it for all.
        """
        if self._ambiguous_images is None:
            names = collections.defaultdict(set)
            for one in self.coco.dataset['images']:
                names[one['id']].add(one['file_name'])
            self._ambiguous_images = {
                number
                for number, of_it in names.items() if len(of_it) > 1
            }
        if image['id'] in self._ambiguous_images:
            return f'the image id {image["id"]} has several files'
        if annotation['image_id'] != image['id']:
            return (f'its id is used again in image {annotation["image_id"]}, '
                    f'not only in {image["id"]}')
        if annotation['id'] in self._used_ids:
            return 'its id is used more than once'
        self._used_ids.add(annotation['id'])
        return None

    def _without_bad(self,
                     people: List[dict],
                     may_skip: bool,
                     what: Optional[str] = None) -> List[dict]:
        good = []
        for person in people:
            reason = find_fault(person, self._metainfo['num_keypoints'])
            if reason is None:
                good.append(person)
            else:
                self._refuse(person, reason, may_skip, what)
        return good

    def _refuse(self,
                person: dict,
                reason: str,
                may_skip: bool,
                what: Optional[str] = None) -> None:
        if self.on_bad == 'stop' or not may_skip:
            remedy = REMEDY if may_skip else (
                'Mend it or take it out of the file: the metric needs it')
            raise BadDataError(
                f'{what or f"{self.ann_file}: annotation"} {person["id"]} of '
                f'{person["img_path"]}: {reason}. {remedy}')
        self._list(person, reason)

    def _list(self, person: dict, reason: str) -> None:
        self.skipped.append(
            dict(
                image=person['img_path'],
                annotation=person['id'],
                reason=reason))

    def prepare_data(self, idx: int) -> Optional[Dict[str, Any]]:
        """Make a sample.

        Args:
            idx (int): Its index.

        Returns:
            dict or None: ``inputs`` and ``data_samples``. Their metainfo has
            ``skipped``, a list as the attribute, if samples had to be skipped
            before it. ``None`` if this one is, upon which the base class
            takes another one by chance.

        Raises:
            BadDataError: If it is bad and must not be skipped, or more than
                ``max_refetch`` bad ones came in a row.
        """
        try:
            sample = super().prepare_data(idx)
            _check_finite(sample)
        except (BadDataError, cv2.error) as error:
            info = self.get_data_info(idx)
            where = f'annotation {info["id"]} of {info["img_path"]}: '
            if self.on_bad == 'stop':
                raise BadDataError(f'{where}{error}. {REMEDY}') from error
            self._pending.append(
                dict(
                    image=info['img_path'],
                    annotation=info['id'],
                    reason=str(error)))
            if len(self._pending) > self.max_refetch:
                raise BadDataError(
                    f'{len(self._pending)} bad samples in a row. The last: '
                    f'{where}{error}') from error
            if not self.test_mode:
                return None
            sample = self.pipeline(_made_missed(info))
        if sample and self._pending:
            pending, self._pending = self._pending, []
            if 'data_samples' in sample:
                sample['data_samples'].set_metainfo(dict(skipped=pending))
        return sample


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
    found = person['keypoints'].shape[1:2]
    if found != (num_keypoints, ):
        return f'it has {found[0]} key points, needed are {num_keypoints}'
    if person['keypoints_visible'].shape[:2] != (1, num_keypoints):
        return (f'{person["keypoints_visible"].size} key points have a '
                f'visibility, needed are {num_keypoints}')
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


def _check_finite(sample: Optional[Dict[str, Any]]) -> None:
    """Check the inputs and targets of a sample, if it has them."""
    if not sample or 'data_samples' not in sample:
        return
    tensors = dict(inputs=sample['inputs'])
    for name in ('gt_fields', 'gt_instance_labels'):
        tensors.update(sample['data_samples'].get(name, {}).items())
    for name, value in tensors.items():
        if isinstance(value, Tensor) and not value.isfinite().all():
            raise BadDataError(f'after the pipeline, {name} is not finite')


def _made_missed(info: Dict[str, Any]) -> Dict[str, Any]:
    """A sample in place of one whose picture cannot be read, for testing."""
    return dict(
        info,
        img=np.zeros((1, 1, 3), np.uint8),
        bbox_center=np.full((1, 2), _FAR_AWAY, np.float32),
        bbox_scale=np.ones((1, 2), np.float32),
        bbox_score=np.zeros(1, np.float32))
