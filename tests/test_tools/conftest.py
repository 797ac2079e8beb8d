from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope='session')
def load_tool(request):
    """Import a script of tools/ by its name, beside the others there."""
    tools = request.config.rootpath / 'tools'

    def load(name):
        spec = spec_from_file_location(name, str(tools / f'{name}.py'))
        module = module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(tools))
            spec.loader.exec_module(module)
        return module

    return load
