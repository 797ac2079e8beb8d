from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope='session')
def load_tool(request):
    """Import a script of tools/ by its name."""

    def load(name):
        path = request.config.rootpath / 'tools' / f'{name}.py'
        spec = spec_from_file_location(name, str(path))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
