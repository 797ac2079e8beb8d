"""Make the plugin known to MMPose and MMEngine, once they are imported."""
import logging
import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, Optional

# MMPose's registries, and the package that registers the plugin's modules.
LOCATIONS = {
    'MODELS': 'models',
    'DATASETS': 'datasets',
    'TRANSFORMS': 'datasets',
    'KEYPOINT_CODECS': 'codecs',
    'METRICS': 'evaluation',
    'HOOKS': 'engine',
    'OPTIM_WRAPPERS': 'engine',
}


def extend_mmengine() -> None:
    """Teach MMEngine the plugin's model names, and mend two of its faults.

    MMEngine then loads its own checkpoints safely on torch >= 2.6 and starts
    processes without GPUs. Calling it again changes nothing.
    """
    from lgm_pose_plugin.checkpoint import allow_mmengine_checkpoints
    from lgm_pose_plugin.model_index import register_model_names
    from lgm_pose_plugin.utils.dist_utils import allow_processes_without_gpu
    allow_mmengine_checkpoints()
    allow_processes_without_gpu()
    register_model_names()


def extend_registries() -> None:
    """Tell MMPose's registries where the plugin's modules are.

    A registry imports its locations when it is asked for a module, as it does
    with MMPose's own.
    """
    from mmpose import registry
    for name, package in LOCATIONS.items():
        location = f'lgm_pose_plugin.{package}'
        known = getattr(registry, name)
        if location not in known._locations:
            known._locations.append(location)
            known._imported = False


def register_all_modules() -> None:
    """Import and register all of the plugin's modules at once.

    ``import lgm_pose_plugin`` is enough for everything that is built from a
    config. This is for code that looks into ``MODELS.module_dict`` itself.

    Raises:
        ImportError: If MMPose cannot be imported in this environment. The
            message names the cause; ``lgm-pose doctor`` prints the remedy.
    """
    try:
        for package in LOCATIONS.values():
            import_module(f'lgm_pose_plugin.{package}')
    except Exception as error:
        raise ImportError(
            f'lgm_pose_plugin cannot register its modules: {error!r}. '
            'Run `lgm-pose doctor` for the remedy.') from error


def set_up_mmpose() -> None:
    """Register MMPose's and the plugin's modules, and log errors only."""
    # Of mmdet's modules in RTMPose, for torch.cuda.amp.
    warnings.filterwarnings('ignore', category=FutureWarning)
    # Of YOLOX and other detectors.
    warnings.filterwarnings('ignore', 'torch.meshgrid')
    # MMPose tells that it finds COCO's key points among its own configs.
    warnings.filterwarnings('ignore', 'The metainfo config file')
    register_all_modules()
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope
    init_default_scope('mmpose')
    MMLogger.get_current_instance().setLevel(logging.ERROR)


class _CallAfterImport(MetaPathFinder, Loader):
    """Calls functions when certain modules have been imported.

    Args:
        callbacks (dict[str, callable]): The functions by module name.
    """

    def __init__(self, callbacks: Dict[str, Callable[[], None]]):
        self.callbacks = callbacks
        self._loaders: Dict[str, Any] = {}

    def find_spec(self,
                  fullname: str,
                  path: Any = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        """Find one of the modules, see the base class."""
        if fullname not in self.callbacks:
            return None
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(fullname, path, target)
                if spec is not None and spec.loader is not None:
                    self._loaders[fullname] = spec.loader
                    spec.loader = self
                    return spec
        return None

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        """See the base class."""
        return self._loaders[spec.name].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then its function."""
        name = module.__spec__.name
        module.__spec__.loader = module.__loader__ = self._loaders[name]
        module.__loader__.exec_module(module)
        self.callbacks.pop(name)()


def extend_when_imported() -> None:
    """Extend MMEngine and MMPose's registries, now or once they are imported.

    Neither is imported here: ``lgm_pose_plugin.runtime`` does without.
    """
    callbacks = {
        'mmengine': extend_mmengine,
        'mmpose.registry': extend_registries
    }
    for name in list(callbacks):
        if name in sys.modules:
            callbacks.pop(name)()
    if callbacks:
        sys.meta_path.insert(0, _CallAfterImport(callbacks))
