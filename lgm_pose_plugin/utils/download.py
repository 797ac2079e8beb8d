"""Download files, with their address and size told first."""
import shutil
import sys
from http.client import HTTPException
from typing import Optional
from urllib.request import Request, urlopen

TIMEOUT = 60  # seconds without an answer


def download(url: str, path: str, timeout: Optional[float] = None) -> None:
    """Write what a URL gives to a file; stderr names the URL and the size.

    Args:
        url (str): An ``http://`` or ``https://`` URL.
        path (str): The file to write.
        timeout (float, optional): Seconds without an answer after which to
            give up. Defaults to ``TIMEOUT``.

    Raises:
        FileNotFoundError: If nothing or not all comes from the URL.
        ValueError: If it is a URL of another kind.
    """
    if not url.lower().startswith(('http://', 'https://')):
        raise ValueError(
            f'{url}: only http:// and https:// can be loaded; download the '
            'file and give its path')
    try:
        request = Request(url, headers={'User-Agent': 'lgm_pose_plugin'})
        with urlopen(request, timeout=timeout or TIMEOUT) as answer:
            size = answer.headers.get('Content-Length')
            told = f'{int(size) / 1e6:.1f} MB' if size else 'of unknown size'
            print(f'downloading {url} ({told})', file=sys.stderr)
            with open(path, 'wb') as out:
                shutil.copyfileobj(answer, out)
                if size and out.tell() != int(size):
                    raise OSError(f'only {out.tell()} of {size} bytes came')
    except (OSError, HTTPException, ValueError) as error:
        raise FileNotFoundError(
            f'{url}: cannot be downloaded ({error}). Check the address, or '
            'download it by other means and give the path of the file'
        ) from error
