"""The formats of exported files, and who writes and runs them."""
import os
import os.path as osp
import shutil
from pathlib import Path
from typing import (Any, Callable, Dict, List, NamedTuple, Optional, Tuple,
                    Union)

from lgm_pose_plugin.runtime.session import (MAX_BATCH, PARTS, Session,
                                             open_session)
from lgm_pose_plugin.utils.files import check_out_file
from .coreml_file import finish_coreml, open_program, to_coreml
from .litert_file import finish_litert, quantize_litert, to_litert
from .ncnn_file import finish_ncnn, to_ncnn
from .onnx_file import finish_onnx, to_onnx
from .openvino_file import finish_openvino, to_openvino
from .quantize import quantize_onnx, quantize_openvino


class Format(NamedTuple):
    """What the formats differ in.

    Attributes:
        suffix (str): Suffix of the file that a runtime opens. Core ML's is
            a folder.
        packages (tuple[str, ...]): Packages that write and run the file.
        write (callable): :func:`to_onnx` or its counterpart.
        finish (callable): :func:`finish_onnx` or its counterpart.
        quantizer (str): Package that quantises it, if one does.
        quantize (callable, optional): :func:`quantize_onnx` or its
            counterpart.
        calibrates (bool): Whether it needs crops to do so.
        batch (int | str): The batch size of files for which none is wanted.
        decodes (bool): Whether the file can return key points.
        open (callable): Opens what the check runs.
    """
    suffix: str
    packages: Tuple[str, ...]
    write: Callable[..., Tuple[List[str], List[str]]]
    finish: Callable[..., None]
    quantizer: str = ''
    quantize: Optional[Callable[..., List[str]]] = None
    calibrates: bool = True
    batch: Union[int, str] = 'dynamic'
    decodes: bool = True
    open: Callable[[str], Session] = open_session

    def files(self, file: str) -> List[str]:
        """The files that belong to a file, which comes last."""
        stem = osp.splitext(file)[0]
        return [*(stem + part for part in PARTS.get(self.suffix, ())), file]

    def size(self, file: str) -> int:
        """Count the bytes of a file and of what belongs to it."""
        paths = [
            path for part in map(Path, self.files(file))
            for path in (part, *part.rglob('*'))
        ]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def move(self, file: str, out: str) -> None:
        """Give a file, and what belongs to it, the name that a user wants."""
        if osp.isdir(out):  # an earlier .mlpackage
            shutil.rmtree(out)
        for part in self.files(file):
            os.replace(part, osp.splitext(out)[0] + osp.splitext(part)[1])


FORMATS: Dict[str, Format] = dict(
    onnx=Format('.onnx', ('onnxruntime', ), to_onnx, finish_onnx,
                'onnxruntime', quantize_onnx),
    openvino=Format('.xml', ('openvino', ), to_openvino, finish_openvino,
                    'nncf', quantize_openvino),
    tflite=Format(
        '.tflite',
        ('litert_torch', 'ai_edge_litert'),
        to_litert,
        finish_litert,
        'litert_torch',  # brings the quantiser, which tells no version
        quantize_litert,
        calibrates=False,
        batch=1),
    ncnn=Format(
        '.param', ('pnnx', 'ncnn'),
        to_ncnn,
        finish_ncnn,
        batch=1,
        decodes=False),
    coreml=Format(
        '.mlpackage', ('coremltools', ),
        to_coreml,
        finish_coreml,
        batch=1,
        decodes=False,
        open=open_program))


def choose_batch(out: str, format: str,
                 batch: Optional[Union[int, str]]) -> Union[int, str]:
    """Check the name and kind of a file before it is made.

    Args:
        out (str): See :func:`~lgm_pose_plugin.export.exporter.export`.
        format (str): As ``out``.
        batch (int | str, optional): As ``out``.

    Returns:
        int | str: The batch size.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If it cannot be made or written.
    """
    if format not in FORMATS:
        raise ValueError(f'unknown format {format!r}, choose one of '
                         f'{", ".join(FORMATS)}')
    kind = FORMATS[format]
    batch = kind.batch if batch is None else batch
    fixed: Any = isinstance(batch, int) and 1 <= batch <= MAX_BATCH
    for wrong, fault in (
        (osp.splitext(out)[1] != kind.suffix,
         f'the name of the file must end in {kind.suffix}, got {out}'),
        (not fixed and batch != 'dynamic',
         f"batch must be from 1 to {MAX_BATCH} or 'dynamic', got {batch}"),
        (not fixed and kind.batch != 'dynamic',
         f'{format} files take a fixed number of crops; give a number as '
         'batch (--batch)'),
        (not kind.decodes and batch != 1,
         f'{format} takes one crop at a time; batch must be 1, got {batch}')):
        if wrong:
            raise ValueError(fault)
    manifest = osp.join(out, 'Manifest.json')
    earlier = format == 'coreml' and osp.isfile(manifest)  # is replaced
    check_out_file(manifest if earlier else out)
    return batch
