import subprocess
import sys

import pytest

from affectlens.core.errors import AffectLensError, NetworkRefused

SCRIPT = """
import socket
from affectlens.core.errors import NetworkRefused
from affectlens.core.offline import forbid_network
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
forbid_network()
try:
    {attempt}
except NetworkRefused as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('127.0.0.1', 9), timeout=5)",
        "socket.socket().connect_ex(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
        "socket.gethostbyname('localhost')",
        "socket.gethostbyname_ex('localhost')",
        "socket.gethostbyaddr('127.0.0.1')",
        "socket.getnameinfo(('127.0.0.1', 80), 0)",
        "udp.sendto(b'x', ('127.0.0.1', 9))",
        "udp.sendmsg([b'x'], [], 0, ('127.0.0.1', 9))",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:9', timeout=5)",
    ],
)
def test_offline_mode_refuses_every_way_to_a_host(attempt):
    run = subprocess.run([sys.executable, "-c", SCRIPT.format(attempt=attempt)], capture_output=True, text=True)
    assert run.stdout.startswith("refused: offline mode: socket."), run.stderr
    assert run.returncode == 0


def test_refusal_is_an_affectlens_error():
    assert issubclass(NetworkRefused, AffectLensError)
