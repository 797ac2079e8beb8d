"""The site: `make docs` builds it by Sphinx into build/docs."""
import ast
import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
API = DOCS / 'api'
MODULES = set()  # those that docs/api has
# Pages that include a file of the repository's root.
ROOT_PAGES = {
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'SECURITY.md': 'security.md',
    'README.md': 'index.md',
    'docs/README.md': 'index.md'
}
# Read the Docs tells where the repository is; elsewhere links to files that
# are no pages are downloads.
REPOSITORY = os.environ.get('READTHEDOCS_GIT_CLONE_URL', '')
REPOSITORY = REPOSITORY[:-4] if REPOSITORY.endswith('.git') else REPOSITORY
REVISION = os.environ.get('READTHEDOCS_GIT_IDENTIFIER', 'main')

project = 'LGM-Pose and LAPX for MMPose'
author = 'The lgm-pose-plugin developers'
release, = re.findall("__version__ = '(.*)'",
                      (ROOT / 'lgm_pose_plugin/version.py').read_text())
version = release

extensions = [
    'myst_parser', 'sphinx.ext.autodoc', 'autoapi.extension',
    'sphinx.ext.napoleon', 'sphinx.ext.viewcode', 'sphinx_copybutton'
]
exclude_patterns = ['README.md', 'logs']
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 6

# The docstrings are read, not imported: neither torch nor MMPose is needed.
autoapi_dirs = [str(ROOT / 'lgm_pose_plugin')]
autoapi_generate_api_docs = False
autodoc_member_order = 'bysource'
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 79

html_theme = 'furo'
html_title = 'LGM-Pose and LAPX'
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = {'source_repository': REPOSITORY}


def module_name(path):
    """The module of a file of the repository."""
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    return name[:-len('.__init__')] if name.endswith('.__init__') else name


def site_link(match, folder):
    """A link of a page in the repository, as the site needs it."""
    text, target, anchor = match.groups()
    anchor = anchor or ''
    path = (folder / target).resolve()
    if '://' in target or not path.is_relative_to(ROOT):
        return match.group()
    name = str(path.relative_to(ROOT))
    if name in ROOT_PAGES:
        target = ROOT_PAGES[name]
    elif path.suffix == '.md' and path.parent == DOCS:
        target = path.name
    elif module_name(path) in MODULES:
        target = module_name(path)
    elif REPOSITORY:
        target = f'{REPOSITORY}/blob/{REVISION}/{name}'
    elif path.is_file():
        target = os.path.relpath(path, DOCS)
    elif path.is_dir():
        return text  # nothing to download
    return f'[{text}]({target}{anchor})'


def site_links(text, folder):
    """All links of a page outside its blocks of code."""
    parts = re.split('(^ *```.*?^ *```)', text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [
        re.sub(r'(?<!!)\[((?:`[^`]*`|[^\[\]])*)\]\(([^)\s#]+)(#[^)\s]*)?\)',
               lambda match: site_link(match, folder), part)
        for part in parts[::2]
    ]
    return ''.join(parts)


def toctrees(contents):
    """A toctree for each section of docs/README.md."""
    for section in re.split('^## ', contents, flags=re.MULTILINE)[1:]:
        title = section.partition('\n')[0]
        links = re.findall(r'^- \[[^\]]*\]\(([^)\s#]+)', section, re.MULTILINE)
        pages = [
            ROOT_PAGES.get(os.path.relpath(DOCS / link, ROOT), link)
            for link in links
        ]
        pages = '\n'.join(page for page in pages if (DOCS / page).is_file())
        yield f'```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n'


def read_page(app, docname, content):
    """Links of a page, and for the first one the table of contents."""
    path = Path(app.env.doc2path(docname))
    if path.parent == DOCS:
        content[0] = site_links(content[0], DOCS)
    if docname == 'index':
        contents = (DOCS / 'README.md').read_text()
        content[0] += '\n' + '\n'.join(toctrees(contents))


def read_included(app, relative_path, docname, content):
    """Links of a file of the root that a page includes."""
    content[0] = site_links(content[0], (app.srcdir / relative_path).parent)


def public_names(path):
    """The classes and functions that a module defines for others."""
    return [
        node.name for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        and not node.name.startswith('_')
    ]


def write_api_pages():
    """Write docs/api/: a page for each package, with all its modules.

    Left out is the command line, which docs/commands.md has.
    """
    package = ROOT / 'lgm_pose_plugin'
    pages = {}
    for path in sorted(package.rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        names = public_names(path)
        if names and not {'.mim', 'cli'} & set(parts):
            room = '.'.join(parts[:-1])
            pages.setdefault(room, {})[parts[-1]] = names
    API.mkdir(exist_ok=True)
    for path in API.glob('*.rst'):
        path.unlink()
    for room, modules in pages.items():
        title = room.partition('.')[2] or room
        lines = [title, '=' * len(title), '']
        for module, names in modules.items():
            name = room if module == '__init__' else f'{room}.{module}'
            MODULES.add(name)
            lines += [
                module, '-' * len(module), '', f'.. autoapimodule:: {name}',
                f'   :members: {", ".join(names)}', '   :show-inheritance:', ''
            ]
        (API / f'{title}.rst').write_text('\n'.join(lines))


def skip_member(app, what, name, member, skip, options):
    """Leave attributes and methods without a docstring out."""
    return skip or not member.docstring


def find_by_name(app, env, node, contnode):
    """Link a class or function of another module that is named alone."""
    target = node.get('reftarget', '')
    if node.get('refdomain') != 'py':
        return None
    objects = env.domains.python_domain.objects
    found = [name for name in objects if name.endswith('.' + target)]
    if len(found) != 1:
        return None
    return env.domains.python_domain.resolve_xref(env, node['refdoc'],
                                                  app.builder, node['reftype'],
                                                  found[0], node, contnode)


def setup(app):
    write_api_pages()
    app.connect('source-read', read_page)
    app.connect('include-read', read_included)
    app.connect('missing-reference', find_by_name)
    app.connect('autodoc-skip-member', skip_member)
