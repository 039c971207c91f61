"""A measure of a package from outside goes over the wire without a change of the service."""

import json

import httpx2
import numpy as np
import pytest

from affectlens import Analyzer, Client, ServiceError, to_pandas
from affectlens.apps.server.schemas import to_wire
from affectlens.runtime.media import PORTRAIT


@pytest.fixture
def gloss(serve, made_up_measure):
    """The address of a service whose analyzer has the measure, and that analyzer."""
    analyzer = Analyzer()
    return serve(engine=analyzer), analyzer


def test_it_is_in_the_answer_and_described(gloss):
    url, analyzer = gloss
    (row,) = analyzer.analyze(PORTRAIT).to_rows()
    answer = httpx2.post(f"{url}/v1/analyze", content=PORTRAIT.read_bytes(), headers={"content-type": "image/jpeg"})
    (face,) = answer.json()["faces"]
    assert face["measures"]["gloss"] == {name: row[name] for name in ("gloss", "glossy", "gloss_frames")}
    columns = httpx2.get(f"{url}/v1/model").json()["columns"]
    assert [column["name"] for column in columns] == list(row)
    (described,) = [column for column in columns if column["name"] == "gloss"]
    assert described["path"] == ["face", "measures", "gloss", "gloss"]
    assert (described["kind"], described["unit"], described["since"]) == ("real", "0 to 1", "9.9")


def test_the_paths_of_the_columns_lead_to_every_cell(gloss):
    url, analyzer = gloss
    answer = httpx2.post(
        f"{url}/v1/analyze", content=PORTRAIT.read_bytes(), headers={"content-type": "image/jpeg"}
    ).json()
    (row,) = analyzer.analyze(PORTRAIT).to_rows()
    subject = {"frame": {**answer, "source": str(PORTRAIT)}, "face": answer["faces"][0], "place": 0}
    for column in httpx2.get(f"{url}/v1/model").json()["columns"]:
        value = subject
        for part in column["path"]:
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert value == row[column["name"]], column


def test_the_client_answers_as_the_analyzer_with_its_columns(gloss):
    url, analyzer = gloss
    with Client(url) as client:
        assert client.analyze(PORTRAIT).to_rows() == analyzer.analyze(PORTRAIT).to_rows()
        nothing = client.analyze(np.zeros((64, 64, 3), dtype=np.uint8))
        assert tuple(nothing.to_rows()[0]) == analyzer.schema.names


@pytest.mark.parametrize("part", ["measures", "smoothed"])
def test_what_is_of_another_kind_than_its_column_is_not_understood(gloss, portrait, part):
    url, _ = gloss
    with Client(url) as client:
        given = to_wire(Analyzer().stream().push(portrait), (512, 512)).model_dump(mode="json")
        assert client._analysis(json.dumps(given), "").faces[0].measures["gloss"]["gloss"] > 0
        face = given["faces"][0]
        (face if part == "measures" else face["smoothed"])["measures"]["gloss"]["gloss"] = "much"
        with pytest.raises(ServiceError, match="unexpected response from the service"):
            client._analysis(json.dumps(given), "")


def test_a_stream_counts_its_frames(gloss, portrait):
    url, _ = gloss
    with Client(url) as client:
        found = list(client.stream([portrait] * 3))
    assert [analysis.to_rows()[0]["gloss_frames"] for analysis in found] == [1, 2, 3]
    assert found[2].faces[0].smoothed.measures["gloss"]["gloss"] == pytest.approx(
        found[2].faces[0].measures["gloss"]["gloss"], abs=0.01
    )


def test_files_that_cannot_be_read_make_one_table_with_the_others(gloss, tmp_path):
    with Client(gloss[0]) as client:
        frame = to_pandas(client.analyze(path) for path in (tmp_path / "nowhere.jpg", PORTRAIT))
    assert frame["reason"].tolist()[0] == "missing"
    assert frame["glossy"].notna().tolist() == [False, True]


def test_a_service_that_came_back_with_other_measures_is_understood(gloss, serve):
    url, analyzer = gloss
    plain = serve(engine=Analyzer(measures=()))
    with Client(url) as client:
        assert "gloss" in client.analyze(PORTRAIT).to_rows()[0]
        client._http.base_url = plain  # the same address, after a restart
        assert client.analyze(PORTRAIT).schema.extra == ()
        client._http.base_url = url
        assert client.analyze(PORTRAIT).to_rows() == analyzer.analyze(PORTRAIT).to_rows()
