"""Export networks to ONNX and OpenVINO files."""
from .exporter import export
from .graph import ExportError

__all__ = ['ExportError', 'export']
