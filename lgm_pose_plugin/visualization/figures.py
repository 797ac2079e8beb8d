"""Plots of Matplotlib as files."""
import os.path as osp

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lgm_pose_plugin.utils.files import check_out_file, replacing


def check_picture_path(path: str) -> None:
    """Check that a picture can be written, before the work is done.

    Args:
        path (str): The path of the picture.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If the folder cannot be written to, or the path is a
            folder or has an unknown suffix.
    """
    check_out_file(path)
    suffixes = sorted(FigureCanvasAgg.get_supported_filetypes())
    if osp.splitext(path)[1][1:].lower() not in suffixes:
        raise ValueError(f'unknown kind of picture {path}; let its name end '
                         f'in one of .{", .".join(suffixes)}')


def save_picture(figure: Figure, path: str) -> None:
    """Write a picture; on an error an older one stays as it was.

    Args:
        figure (Figure): What it shows.
        path (str): The picture to write.

    Raises:
        OSError: If it cannot be written.
        ValueError: As :func:`check_picture_path`.
    """
    check_picture_path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
