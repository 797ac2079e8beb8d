"""Export networks to ONNX, OpenVINO, LiteRT, ncnn and Core ML files."""
from .exporter import export
from .graph import ExportError

__all__ = ['ExportError', 'export']
