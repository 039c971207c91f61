"""A real service on a free port of loopback, in a thread of its own."""

import contextlib
import socket
import threading
import time

import pytest

from affectlens.apps.server.app import Application
from affectlens.apps.server.serving import Server


@contextlib.contextmanager
def running(application, **settings):
    """The address of an application that is being served."""
    server = Server(application, **settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve(analyzer):
    """Starts a service with these limits, names and token; gives its address."""
    with contextlib.ExitStack() as stack:

        def start(limits=None, engine=None, head_s=20.0, **access):
            return stack.enter_context(running(Application(engine or analyzer, limits, **access), head_s=head_s))

        yield start


@pytest.fixture(scope="session")
def url(analyzer):
    """The address of a service as it is by default."""
    with running(Application(analyzer)) as address:
        yield address
