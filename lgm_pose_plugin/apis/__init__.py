"""Find people and their key points in pictures and videos."""
from .inferencer import PoseInferencer

__all__ = ['PoseInferencer']
