"""The engine on Ray: one that is started here, and a cluster of several nodes on this machine, one of which dies."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import psutil
import pyarrow as pa
import pytest
import ray
from pyarrow import parquet
from ray.cluster_utils import Cluster

from affectlens.apps.batch import on_ray, work
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import list_items
from affectlens.apps.batch.local import MAX_DEATHS, analyze_here
from affectlens.apps.batch.on_ray import analyze_on_ray
from affectlens.apps.batch.run import Engine, run
from affectlens.apps.batch.work import BatchSettings, ResultPart
from affectlens.core.errors import AffectLensError, BadModelFile
from affectlens.core.reasons import Reason
from affectlens.runtime.record import Recorder

pytestmark = pytest.mark.slow

NODES, SOURCES = 3, 12


@dataclass(frozen=True)
class Poisoned(BatchSettings):
    """Settings whose worker dies of photos that are called so, or hangs."""

    deadly: str = ""
    hanging: str = ""

    def analyzer(self):
        found = super().analyzer()
        analyze = found.analyze

        def deadly(source, name=""):
            time.sleep(60 if self.hanging and name.endswith(self.hanging) else 0)
            if self.deadly and name.endswith(self.deadly):
                os.kill(os.getpid(), signal.SIGSEGV)
            return analyze(source, name)

        analysis = found.recognizer.analysis

        def deadly_analysis(source, image, faces, frame=None, time_s=None):
            work._MAX_ROWS = 5  # there, in its actor
            if frame == 12 and self.deadly and source.endswith(self.deadly):
                time.sleep(1)  # until Ray has passed on what was said before
                os.kill(os.getpid(), signal.SIGSEGV)
            return analysis(source, image, faces, frame, time_s)

        found.analyze, found.recognizer.analysis = deadly, deadly_analysis
        return found


@pytest.fixture(scope="module")
def cluster():
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # other engines' tests cover what actors do
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes = [found.add_node(num_cpus=1) for _ in range(NODES - 1)]
    yield found, nodes
    found.shutdown()


@pytest.fixture
def sources(photos):
    return list(enumerate(list_items(str(photos)), 1))


def comparable(parts):
    return {part.number: (part.rows, part.end) for part in parts}


def test_it_answers_as_one_process_does_though_a_node_dies(cluster, sources):
    found, nodes = cluster
    many = [(number * SOURCES + which, item) for number in range(3) for which, item in sources]
    wanted = comparable(analyze_here(iter(many), BatchSettings()))
    parts = []
    for part in analyze_on_ray(iter(many), BatchSettings(), NODES, found.address):
        parts.append(part)
        if len(parts) == 10:
            found.remove_node(nodes.pop(), allow_graceful=False)
    assert sorted(part.number for part in parts) == sorted(number for number, _ in many)
    assert comparable(parts) == wanted


def test_what_kills_its_actor_fails_and_the_rest_goes_on(cluster, sources):
    ray.cloudpickle.register_pickle_by_value(sys.modules[Poisoned.__module__])
    parts = comparable(analyze_on_ray(iter(sources), Poisoned(deadly="/4.jpg"), 2, cluster[0].address))
    assert sorted(parts) == [number for number, _ in sources]
    (deadly,) = [number for number, item in sources if item.name.endswith("/4.jpg")]
    rows, end = parts[deadly]
    assert (end.read, end.reason, end.detail) == (False, Reason.CRASHED, "the actor that read it died")
    assert [row["reason"] for row in rows] == ["crashed"]
    assert sum(end.read for _, end in parts.values()) == 9
    assert not list(Path(tempfile.gettempdir()).glob("affectlens-*/*"))


def test_what_hangs_ends_its_actor_and_the_rest_goes_on(cluster, sources):
    ray.cloudpickle.register_pickle_by_value(sys.modules[Poisoned.__module__])
    settings = Poisoned(hanging="/4.jpg", timeout_s=2)
    parts = comparable(analyze_on_ray(iter(sources), settings, 2, cluster[0].address))
    (hanging,) = [number for number, item in sources if item.name.endswith("/4.jpg")]
    rows, end = parts[hanging]
    assert (end.read, end.reason, end.detail) == (False, Reason.TOO_SLOW, "not finished after 2 s")
    assert [row["reason"] for row in rows] == ["too_slow"]
    assert sum(end.read for _, end in parts.values()) == 9


def test_a_video_that_kills_its_actor_after_some_answers_fails_too(cluster, sources, tmp_path, portrait, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules[Poisoned.__module__])
    ray.init(cluster[0].address, logging_level="ERROR", log_to_driver=False)
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", 1)  # each answer by itself
    with Recorder(tmp_path / "film.mp4") as recorder:
        for number in range(20):
            recorder.write(cv2.resize(portrait, (160, 160)), number / 10)
    film = Item("film.mp4", str(tmp_path / "film.mp4"), video=True)
    parts = list(analyze_on_ray(iter([*sources[:3], (99, film)]), Poisoned(deadly=".mp4"), 2))
    ray.shutdown()
    assert [len(part.rows) for part in parts if part.number == 99][:2] == [5, 5]
    assert (parts[-1].number, parts[-1].first, parts[-1].end.reason) == (99, True, Reason.CRASHED)
    assert [row["reason"] for row in parts[-1].rows] == ["crashed"]
    assert sorted(part.number for part in parts if part.end) == [1, 2, 3, 99]


def test_what_every_source_would_meet_ends_the_batch(cluster, sources, tmp_path):
    with pytest.raises(BadModelFile, match=r"nothing\.onnx"):
        list(analyze_on_ray(iter(sources), BatchSettings(str(tmp_path / "nothing.onnx")), 2, cluster[0].address))


_AFTER_A_BATCH = """
import sys
from affectlens.apps.batch.on_ray import analyze_on_ray
from affectlens.apps.batch.work import BatchSettings

assert list(analyze_on_ray(iter(()), BatchSettings(), 1, sys.argv[1])) == []
import ray
try:
    ray.put("what a thread of Ray Data does that outlives the batch")
except Exception as error:
    sys.exit(f"{type(error).__name__}, connected: {ray.is_initialized()}")
"""


def test_nothing_connects_again_when_a_batch_has_ended(cluster):
    env = {name: value for name, value in os.environ.items() if name != "RAY_ENABLE_AUTO_CONNECT"}
    command = [sys.executable, "-c", _AFTER_A_BATCH, cluster[0].address]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (1, ["RaySystemError, connected: False"])


def test_a_cluster_that_is_not_there_is_one_line(sources, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("Could not connect.\nRay Client server is not up.")

    monkeypatch.setattr(ray, "init", unreachable)
    with pytest.raises(AffectLensError, match=r"^Ray: Ray Client server is not up\.$"):
        list(analyze_on_ray(iter(sources), BatchSettings(), 2, "ray://nowhere:10001"))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nothing_listens_is_told_at_once(scheme, photos, tmp_path):
    with socket.socket() as closed:  # bound, and listens to nothing
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(AffectLensError, match=rf"^no Ray cluster responds at '{address}' \("):
            run(str(photos), tmp_path / "out", BatchSettings(), 2, 5, engine=Engine.RAY, address=address)
    assert not (tmp_path / "out").exists()


def test_addresses_of_ray_itself_are_left_to_it():
    on_ray.check_address("auto")
    with pytest.raises(AffectLensError, match="'host:none' is not a valid address"):
        on_ray.check_address("host:none")


def test_a_long_list_is_analyzed_in_pieces(cluster, sources, monkeypatch):
    monkeypatch.setattr(on_ray, "_LISTING_BATCH", 5)
    monkeypatch.setattr(on_ray, "_analyze", lambda some, *rest: [some])
    pieces = list(analyze_on_ray(iter(sources), BatchSettings(), 2, cluster[0].address))
    assert [len(piece) for piece in pieces] == [5, 5, 2]
    assert [source for piece in pieces for source in piece] == sources


def test_an_actor_answers_as_this_process_does_and_gives_up_what_killed_others(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"crumbs-{sources[0][0]}").write_bytes(b"begun\n" * MAX_DEATHS)
    actor = on_ray._Actor(BatchSettings(), "crumbs")
    (table,) = on_ray._tables([(number, replace(item, video=False)) for number, item in sources], SOURCES)
    said = [answer.to_pylist()[0] for answer in actor(on_ray._read(table))]
    assert all(answer["fault"] is None for answer in said)
    parts = comparable([ResultPart.from_json(answer["part"]) for answer in said])
    assert parts[sources[0][0]][1].reason == Reason.CRASHED
    wanted = comparable(analyze_here(iter(sources), BatchSettings()))
    assert {number: part for number, part in parts.items() if number != sources[0][0]} == {
        number: part for number, part in wanted.items() if number != sources[0][0]
    }
    assert list(tmp_path.glob("crumbs*")) == []


def test_an_actor_without_a_model_says_so(sources, tmp_path):
    actor = on_ray._Actor(BatchSettings(str(tmp_path / "nothing.onnx")), "crumbs")
    (table,) = on_ray._tables(sources[:1], 1)
    (answer,) = actor(on_ray._read(table))
    assert "nothing.onnx" in answer.column("fault").to_pylist()[0]


def test_the_command_starts_ray_where_no_address_is_given(photos, tmp_path, read_back):
    command = [sys.executable, "-m", "affectlens", "batch", photos, "--engine", "ray", "--workers", "2", "--annotate"]
    done = subprocess.run(
        [*command, "--out", tmp_path / "out"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"10 of 12 done, 2 failed; rows: 12, shards in {tmp_path}/out: 1\n")
    said = done.stderr.splitlines()
    assert said[-1].startswith("warning: 2 of 12 sources could not be read (")
    assert all(" of 12 sources, " in line for line in said[:-1])  # one each half minute
    rows, states = read_back(tmp_path / "out")
    assert sorted(row["source"] for row in rows) == sorted(states)
    assert len(list((tmp_path / "out" / "annotated").iterdir())) == 10


def test_only_this_machine_reaches_what_is_started_without_an_address(sources, monkeypatch):
    ray.shutdown()
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    ours = psutil.Process()
    before = set(ours.children(recursive=True))
    addresses, names = set(), set()
    for _ in analyze_on_ray(iter(sources), BatchSettings(), 1):
        for process in {ours, *ours.children(recursive=True)} - before:
            with contextlib.suppress(psutil.Error):  # it has just ended
                names.add(process.name())
                listening = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
                addresses |= {one.laddr.ip for one in listening}
    assert {"gcs_server", "raylet"} <= names
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


@dataclass(frozen=True)
class Elsewhere(BatchSettings):
    """Settings that ask for a GPU and do without: Ray only counts them."""

    def analyzer(self):
        return BatchSettings().analyzer()


def test_actors_that_take_all_cores_and_gpus_still_get_their_sources(sources):
    ray.shutdown()
    ray.cloudpickle.register_pickle_by_value(sys.modules[Elsewhere.__module__])
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False})
    try:
        parts = comparable(analyze_on_ray(iter(sources), Elsewhere(gpus=0.5), None, found.address))
    finally:
        ray.shutdown()
        found.shutdown()
    assert sum(end.read for _, end in parts.values()) == 10


def test_whatever_goes_wrong_in_reading_costs_that_source(tmp_path, jpeg):
    parquet.write_table(pa.table({"image": [jpeg, jpeg]}), tmp_path / "photos.parquet")
    sources = list(enumerate(list_items(str(tmp_path / "photos.parquet")), 1))
    parquet.write_table(pa.table({"text": ["no picture"]}), tmp_path / "photos.parquet")
    (table,) = on_ray._tables([*sources, (3, Item("a.jpg", f"{tmp_path}/a.jpg"))], 8)
    read = on_ray._read(table)
    assert read.column("data").to_pylist() == [None] * 3
    faults = [item.fault for _, item in on_ray._items(read)]
    assert [reason for reason, _ in faults] == [Reason.FAILED, Reason.FAILED, Reason.MISSING]
    assert "has no column of images" in faults[0][1]


def test_videos_are_read_alone():
    kinds = [False] * 5 + [True] * 2 + [False]
    sources = [(number, Item(str(number), f"/{number}", video)) for number, video in enumerate(kinds)]
    assert [table.column("number").to_pylist() for table in on_ray._tables(sources, 3)] == [
        [0, 1, 2], [3, 4], [5], [6], [7],
    ]  # fmt: skip
