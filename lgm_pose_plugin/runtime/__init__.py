"""Run exported files without torch and MMPose."""
from .detector_runtime import DetectorRuntime
from .pose_runtime import PoseRuntime
from .session import open_session

__all__ = ['DetectorRuntime', 'PoseRuntime', 'open_session']
