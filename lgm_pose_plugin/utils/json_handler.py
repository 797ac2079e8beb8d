"""JSON files as the tools of Windows write them."""
import io
from typing import Any

from mmengine.fileio.handlers import JsonHandler, register_handler


@register_handler('json')
class AnyEncodingJsonHandler(JsonHandler):
    """MMEngine's handler of JSON that also reads UTF-16 and byte order marks.

    MMPose reads annotation files and detected boxes by it. Runs once MMEngine
    is imported.
    """

    str_like = False  # so that MMEngine gives and takes bytes

    def dump_to_fileobj(self, obj: Any, file: Any, **kwargs: Any) -> None:
        """Write an object to an open file, of bytes or text."""
        if isinstance(file, io.BytesIO):
            file.write(self.dump_to_str(obj, **kwargs).encode())
        else:
            super().dump_to_fileobj(obj, file, **kwargs)
