"""The diagrams of docs/ are those that tools/draw_diagrams.py draws."""


def test_diagrams(load_tool, tmp_path, monkeypatch):
    tool = load_tool('draw_diagrams')
    committed = {
        path.name: path.read_text()
        for path in tool.OUT.glob('diagram-*.svg')
    }
    monkeypatch.setattr(tool, 'OUT', tmp_path)
    tool.main()
    drawn = {path.name: path.read_text() for path in tmp_path.glob('*')}
    assert drawn == committed
