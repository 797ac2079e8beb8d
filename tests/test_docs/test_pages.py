"""Links and figures of the README and of docs/."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([
    *ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md'),
    *(ROOT / 'configs').rglob('*.md'), *(ROOT / '.github').rglob('*.md')
])


def prose(page):
    """A page without its blocks of code."""
    blocks = re.compile('^ *```.*?^ *```', re.DOTALL | re.MULTILINE)
    return blocks.sub('', page.read_text())


def anchors(page):
    """What GitHub makes of a page's headings."""
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in re.findall('^#+ (.+)$', prose(page), re.MULTILINE)
    }


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """External ones are left to the docs workflow."""
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
        if '://' in link:
            continue
        name, _, anchor = link.partition('#')
        target = page.parent / name if name else page
        if not target.exists() or anchor and anchor not in anchors(target):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_code_end(page):
    fences = re.findall('^ *```', page.read_text(), re.MULTILINE)
    assert len(fences) % 2 == 0


def test_every_page_is_in_the_table_of_contents():
    """The site has those that it names, files of the root as well."""
    contents = (ROOT / 'docs/README.md').read_text()
    linked = [
        Path(link).name.lower() if link.startswith('../') else link for link in
        re.findall(r'^- \[[^\]]*\]\(([\w./]+\.md)\)', contents, re.MULTILINE)
    ]
    assert sorted(linked + ['README.md', 'index.md']) == [
        path.name for path in sorted((ROOT / 'docs').glob('*.md'))
    ]


def test_included_pages():
    """A page of the site that is a file of the root includes just that."""
    for name in ('CHANGELOG', 'CONTRIBUTING', 'SECURITY'):
        page = ROOT / 'docs' / f'{name.lower()}.md'
        assert page.read_text() == f'```{{include}} ../{name}.md\n```\n'


def rows(page, start='#'):
    """Cells of the rows below a line, by the first one; the first counts."""
    lines = (ROOT / page).read_text().partition(start)[2].splitlines()
    table = {}
    for line in lines:
        name, *cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| '):
            table.setdefault(name.lower(), cells)
    return table


def test_figures_of_the_readme():
    """They are those of the pages that measured them."""
    speed = rows('docs/benchmark.md', '<!-- benchmark:all -->')
    fast = rows('docs/benchmark.md', '<!-- benchmark:compared -->')
    accuracy = rows('docs/lsp_benchmark.md', '<!-- benchmark:rivals -->')
    models = rows('README.md', '## Models')
    for network in ('lgm-pose', 'lgm-pose-fast', 'lapx', 'lap'):
        params, macs, pck, ap, time = models[network]
        table = fast if network == 'lgm-pose-fast' else speed
        assert [params, macs] == table[network][:2]
        assert ap == table[network][2].replace(' (paper)', '')
        own, base = (
            float(table[name][4].split()[0]) for name in (network, 'lgm-pose'))
        assert time == f'{own / base:.1f}'
        assert pck == accuracy[network][3]


def test_weights_of_the_readme():
    """The AP of the sentence below the table of models."""
    name = '`lgm-pose_body17-256x192`'
    text = ' '.join((ROOT / 'README.md').read_text().split())
    assert f'{name} (AP {rows("docs/weights.md")[name][1]})' in text
