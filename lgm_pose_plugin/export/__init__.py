"""Export networks to ONNX, OpenVINO, LiteRT and ncnn files."""
from .exporter import export
from .graph import ExportError

__all__ = ['ExportError', 'export']
