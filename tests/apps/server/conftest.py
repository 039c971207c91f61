"""A real service on a free port of loopback, in a thread of its own."""

import contextlib
import importlib
import socket
import sys
import textwrap
import threading
import time

import pytest

from affectlens.apps.server.app import Application
from affectlens.apps.server.serving import Server


@contextlib.contextmanager
def running(application, **settings):
    """The address of an application that is being served, and its server."""
    server = Server(application, **settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}", server
        server.should_exit = True
        thread.join()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Makes a module of a name and text that other processes can import too; its files lie in `plugin.folder`."""

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    monkeypatch.syspath_prepend(tmp_path)
    make.folder = tmp_path
    before = set(sys.modules)
    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def serve(analyzer):
    """Starts a service with these limits, names and token; gives its address, to which `stop` is said as by SIGTERM."""
    servers = {}
    with contextlib.ExitStack() as stack:

        def start(limits=None, engine=None, head_s=20.0, connections=512, **access):
            application = Application(engine or analyzer, limits, **access)
            url, servers[url] = stack.enter_context(running(application, head_s=head_s, connections=connections))
            return url

        start.stop = lambda url: setattr(servers[url], "should_exit", True)
        yield start


@pytest.fixture(scope="session")
def url(analyzer):
    """The address of a service as it is by default."""
    with running(Application(analyzer)) as (address, _):
        yield address
