"""A real service on a free port of loopback, in a thread of its own."""

import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from affectlens.apps.server.app import build


@contextlib.contextmanager
def running(application, **settings):
    """The address of an ASGI application that is being served."""
    config = uvicorn.Config(application, log_level="error", access_log=False, ws_per_message_deflate=False, **settings)
    server = uvicorn.Server(config)
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
        yield lambda limits=None, engine=None, **access: stack.enter_context(
            running(build(engine or analyzer, limits, **access))
        )


@pytest.fixture(scope="session")
def url(analyzer):
    """The address of a service as it is by default."""
    with running(build(analyzer)) as address:
        yield address
