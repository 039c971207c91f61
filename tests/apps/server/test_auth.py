import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from affectlens.apps.server.auth import is_loopback


def get(url, path="/v1/model", **headers):
    return httpx2.get(url + path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def port(url):
    return url.rpartition(":")[2]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]", "127.9.9.9"])
def test_names_of_this_machine_are_answered(url, host):
    assert get(url, host=f"{host}:{port(url)}").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "[::"]
)
def test_a_name_that_was_pointed_here_is_not_answered(url, host):
    answer = get(url, host=f"{host}:{port(url)}")
    assert (answer.status_code, answer.json()["reason"]) == (421, "forbidden")


def test_a_name_that_was_allowed_is_answered(serve):
    url = serve(names=("lens.example",))
    assert get(url, host="lens.example").status_code == 200
    assert get(url, host="other.example").status_code == 421


def test_a_wide_service_is_called_by_address_but_not_by_foreign_names(serve):
    url = serve(host="0.0.0.0", token="secret")
    assert get(url, host="10.0.0.1", authorization="Bearer secret").status_code == 200
    assert get(url, host="evil.example", authorization="Bearer secret").status_code == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "http://["]
)
def test_a_foreign_page_is_refused(url, origin):
    for answer in (get(url, origin=origin), httpx2.post(f"{url}/v1/analyze", headers={"origin": origin})):
        assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws{url.removeprefix('http')}/v1/stream", additional_headers={"origin": origin}, proxy=None
        ).__enter__()
    assert refused.value.response.status_code == 403


def test_the_own_page_is_not_refused(url):
    assert get(url, origin=url).status_code == 200
    with connect(f"ws{url.removeprefix('http')}/v1/stream", origin=url, proxy=None) as socket:
        assert socket.protocol.state.name == "OPEN"


def test_a_page_without_origin_is_told_by_fetch_metadata_but_links_work(url):
    assert get(url, sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status_code == 403
    assert get(url, sec_fetch_site="same-site", sec_fetch_mode="cors").status_code == 403
    assert get(url, "/docs", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 200


def test_a_token_is_asked_of_all_but_health(serve):
    url = serve(token="secret")
    for path in ("/", "/v1/model", "/metrics", "/docs", "/openapi.json"):
        answer = get(url, path)
        assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert get(url, path, authorization="Bearer secret").status_code == 200
    assert get(url, "/healthz").status_code == 200
    for wrong in ("Bearer secre", "Bearer", "Basic secret", "Bearer secret2", "Bearer sécret".encode()):
        assert get(url, authorization=wrong).status_code == 401


def test_a_browser_without_the_token_is_told_what_to_open(serve):
    answer = get(serve(token="secret"), "/", accept="text/html,*/*;q=0.8")
    assert (answer.status_code, answer.text) == (401, "the token is missing or wrong; open /?token=TOKEN once\n")


def test_a_browser_shows_the_token_once_and_then_a_cookie(serve):
    url = serve(token="secret")
    with httpx2.Client(base_url=url) as browser:
        assert browser.get("/?token=wrong").status_code == 401
        first = browser.get("/?token=secret")
        assert first.status_code == 303
        assert first.headers["location"] == "/"
        told = first.headers["set-cookie"].lower()
        assert "secret" not in told
        assert "httponly" in told
        assert "samesite=strict" in told
        assert browser.get("/").status_code == 200
        assert browser.get("/v1/model").status_code == 200
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    with connect(f"ws{url.removeprefix('http')}/v1/stream", additional_headers=cookie, proxy=None) as socket:
        assert socket.protocol.state.name == "OPEN"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws{url.removeprefix('http')}/v1/stream", proxy=None).__enter__()
    assert refused.value.response.status_code == 401


def test_without_a_token_none_is_kept(url):
    assert "set-cookie" not in get(url, "/?token=x").headers


def test_refusals_and_documentation_are_hardened_too(url):
    assert "frame-ancestors 'none'" in get(url, "/docs").headers["content-security-policy"]
    assert get(url, origin="http://evil.example").headers["x-content-type-options"] == "nosniff"


def test_pages_may_load_nothing_from_elsewhere(url):
    headers = get(url, "/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_token_is_told_to_nobody(serve):
    url = serve(token="s3cret")
    assert "s3cret" not in get(url, "/?token=wrong").text + get(url, "/healthz").text


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("lens", False)],
)
def test_loopback_is_told_from_the_rest(host, own):
    assert is_loopback(host) is own
