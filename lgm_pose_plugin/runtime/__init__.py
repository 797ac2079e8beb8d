"""Run exported files without torch and MMPose."""
from .pose_runtime import PoseRuntime
from .session import open_session

__all__ = ['PoseRuntime', 'open_session']
