"""Make the plugin known to MMPose and MMEngine, once they are imported."""
import logging
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Callable, Iterator, Optional, cast

from lgm_pose_plugin import compat

# MMPose's registries that the plugin adds to, and the packages that do it.
REGISTRIES = ('MODELS', 'DATASETS', 'TRANSFORMS', 'KEYPOINT_CODECS', 'METRICS',
              'HOOKS', 'OPTIM_WRAPPERS')
PACKAGES = ('models', 'datasets', 'codecs', 'evaluation', 'engine')


@contextmanager
def _naming_the_remedy(task: str) -> Iterator[None]:
    """Turn any error into an ImportError that names the plugin's doctor."""
    try:
        yield
    except Exception as error:
        raise ImportError(f'lgm_pose_plugin cannot {task}: {error!r}. '
                          'Run `lgm-pose doctor` for the remedy.') from error


def extend_mmengine() -> None:
    """Give MMEngine the plugin's model names, and mend two of its faults.

    MMEngine then loads its own checkpoints safely on torch >= 2.6 and starts
    processes without GPUs. Calling it again changes nothing.

    Raises:
        ImportError: If a package is missing or broken. The message names the
            cause; ``lgm-pose doctor`` prints the remedy.
    """
    with _naming_the_remedy('extend MMEngine'):
        # Each extends it at its end. One that is being imported, and so
        # imports MMEngine, is not there yet and will do so.
        for module in ('checkpoint.unpickling', 'model_index',
                       'utils.dist_utils', 'utils.json_handler'):
            import_module(f'lgm_pose_plugin.{module}')


def extend_registries() -> None:
    """Tell MMPose's registries where the plugin's modules are.

    A registry imports its locations when it is first asked for a module, as
    it does with MMPose's own. Calling it again changes nothing.

    Raises:
        ImportError: As :func:`extend_mmengine`.
    """
    location = 'lgm_pose_plugin.all_modules'
    with _naming_the_remedy('register its modules'):
        module = import_module('mmpose.registry')
        for name in REGISTRIES:
            registry = getattr(module, name)
            if location not in registry._locations:
                # Before MMPose's own: if these fail, the remedy is named.
                registry._locations = [location, *registry._locations]
                registry._imported = False


def register_all_modules() -> None:
    """Import and register all of the plugin's modules at once.

    ``import lgm_pose_plugin`` is enough for everything that is built from a
    config. This is for code that looks into ``MODELS.module_dict`` itself.

    Raises:
        ImportError: As :func:`extend_mmengine`.
    """
    with _naming_the_remedy('register its modules'):
        for package in PACKAGES:
            import_module(f'lgm_pose_plugin.{package}')


def set_up_mmpose() -> None:
    """Register MMPose's and the plugin's modules, and log errors only."""
    # Of mmdet's modules in RTMPose, for torch.cuda.amp.
    warnings.filterwarnings('ignore', category=FutureWarning)
    # Of YOLOX and other detectors.
    warnings.filterwarnings('ignore', 'torch.meshgrid')
    # Of MMPose, which finds COCO's key points among its own configs.
    warnings.filterwarnings('ignore', 'The metainfo config file')
    with _naming_the_remedy('register its modules'):
        from mmengine.logging import MMLogger
    # Before the imports, which log what stands in for missing packages.
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    register_all_modules()
    from mmengine.registry import init_default_scope
    init_default_scope('mmpose')


def _extend_after(loader: Any, extend: Callable[[], None]) -> None:
    """Let a loader extend its module after that has run."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        extend()

    loader.exec_module = exec_module


class _ExtendingFinder(MetaPathFinder):
    """Finds MMEngine and MMPose's registries, to extend them once they run."""
    extensions = {
        'mmengine': extend_mmengine,
        'mmpose.registry': extend_registries,
        **compat.mended_when_imported()
    }

    def find_spec(self,
                  fullname: str,
                  path: Any = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        """Find one of the modules as the next finders do."""
        if fullname in self.extensions:
            # Not those before it: another of its kind would ask back.
            after = sys.meta_path.index(self) + 1
            for finder in sys.meta_path[after:]:
                # Not in those of Python 2's protocol, as of an old six.
                find: Any = getattr(finder, 'find_spec', None)
                spec = find and find(fullname, path, target)
                if spec is not None and spec.loader is not None:
                    _extend_after(spec.loader, self.extensions[fullname])
                    return cast(ModuleSpec, spec)
        return None


def extend_when_imported() -> None:
    """Extend MMEngine and MMPose's registries, now or once they are imported.

    Neither is imported for it, since ``lgm_pose_plugin.runtime`` does without,
    unless MMEngine is there already: then a config may be asking for the
    plugin, and MMEngine itself would not tell why it finds no MMPose.

    Raises:
        ImportError: As :func:`extend_mmengine`.
    """
    compat.install()
    sys.meta_path.insert(0, _ExtendingFinder())
    if sys.modules.get('mmengine'):
        extend_mmengine()
        if find_spec('mmpose'):
            extend_registries()
