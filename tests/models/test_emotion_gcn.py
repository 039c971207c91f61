from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.expressions import CIRCUMPLEX, FERPLUS
from affectlens.core.statistics import DatasetStatistics
from affectlens.models.emotion_gcn import (
    Graph,
    build,
    circumplex,
    co_occurrence,
    correlations,
    strengths,
    weighted_edges,
)


@pytest.fixture(scope="module")
def statistics():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 200)
    targets[:20] = -1
    affect = (rng.normal(size=(200, 2)) / 3 + 0.3 * np.stack([targets, -targets], axis=1) / 4).clip(-1, 1)
    affect[20:30] = np.nan
    return DatasetStatistics(("a", "b", "c", "d"), targets, affect.astype(np.float32))


def test_correlations_are_spearmans_over_the_described_faces(statistics):
    found = correlations(statistics)
    known = statistics.described
    assert known.sum() == 170
    for label in range(4):
        for column in range(2):
            expected = spearmanr(statistics.targets[known] == label, statistics.affect[known, column]).statistic
            assert found[label, column] == pytest.approx(expected, abs=1e-6)
    between = spearmanr(*statistics.affect[known].T).statistic
    assert found[4].tolist() == pytest.approx([between, 0], abs=1e-6)


def test_a_class_without_faces_is_related_to_nothing(statistics):
    alone = DatasetStatistics((*statistics.labels, "e"), statistics.targets, statistics.affect)
    assert correlations(alone)[4].tolist() == [0, 0]


def test_the_weights_of_a_small_graph():
    related = np.array([[0, 0, 0.3], [0, 0, 0.05], [0.3, 0.05, 0]])
    np.testing.assert_allclose(weighted_edges(related, 0.1, 0.7), [[0.3, 0, 0.7], [0, 1, 0], [0.7, 0, 0.3]])
    np.testing.assert_allclose(weighted_edges(related, 0.05, 0.6), [[0.4, 0, 0.6], [0, 0.4, 0.6], [0.3, 0.3, 0.4]])
    everywhere = weighted_edges(related, 0.0, 0.5)
    np.testing.assert_allclose(everywhere, np.where(np.eye(3, dtype=bool), 0.5, 0.25))


def test_expressions_are_not_related_to_each_other_unless_by_votes(statistics):
    known = np.abs(correlations(statistics))
    assert not strengths(known, statistics.targets, None, affect_edge=False)[:4, :4].any()
    votes = np.full((200, 4), 0.1, dtype=np.float32)
    votes[np.arange(200), statistics.targets.clip(0)] = 0.7
    related = strengths(known, statistics.targets, votes, affect_edge=False)
    np.testing.assert_allclose(related[:4, :4], np.where(np.eye(4, dtype=bool), 0.7, 0.1), atol=1e-6)
    np.testing.assert_allclose(related[:4, 4:], related[4:, :4].T)


def test_an_isolated_node_keeps_all_or_the_rest():
    related = np.array([[0, 0, 0.3], [0, 0, 0.05], [0.3, 0.05, 0]])
    assert np.diag(weighted_edges(related, 0.1, 0.7)).tolist() == pytest.approx([0.3, 1, 0.3])
    assert np.diag(weighted_edges(related, 0.1, 0.7, "rest")).tolist() == pytest.approx([0.3, 0.3, 0.3])


def test_the_graph_of_affectnet_is_that_of_the_paper():
    seven = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
    nobody = DatasetStatistics(seven, np.zeros(1, dtype=np.int64), np.zeros((1, 2), dtype=np.float32))
    weights = Graph(0.1, 0.7, source="affectnet").adjacency(nobody)
    edges = {(seven[row], "VA"[column - 7]) for row, column in zip(*np.nonzero(weights[:7]), strict=True) if column > 6}
    assert edges == {
        *(("neutral", "V"), ("neutral", "A"), ("happiness", "V"), ("sadness", "V"), ("sadness", "A")),
        *(("surprise", "A"), ("fear", "V"), ("fear", "A"), ("disgust", "V"), ("disgust", "A")),
        *(("anger", "V"), ("anger", "A")),
    }
    assert not weights[:7, :7][~np.eye(7, dtype=bool)].any()
    assert weights[7, 8] == weights[8, 7] == 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    taken = [0.533, 0.417, 0.533, 0.417, 0.533, 0.533, 0.533, 2.75, 2.75]  # as docs/works.md says
    np.testing.assert_allclose(weights.sum(axis=0), taken, atol=1e-3)
    with pytest.raises(BadData, match="graph=affectnet has no correlation for 'contempt'"):
        Graph(0.1, 0.7, source="affectnet").adjacency(replace(nobody, labels=(*seven, "contempt")))


def test_an_edge_between_valence_and_arousal_is_an_option(statistics):
    assert Graph(0.0, 0.5).adjacency(statistics)[4, 5] > 0  # with tau 0 there is one everywhere
    assert Graph(0.01, 0.5).adjacency(statistics)[4, 5] == 0
    assert Graph(0.01, 0.5, affect_edge=True).adjacency(statistics)[4, 5] > 0


def test_heads_come_from_the_transposed_graph_or_the_graph_itself(statistics):
    torch.manual_seed(0)
    theirs = build(4, backbone="breg_next", layers=1)
    theirs.prepare(statistics)
    text = build(4, backbone="breg_next", layers=1, transposed=False)
    text.load_state_dict(theirs.state_dict())
    start = theirs.words @ theirs.convolutions[0].weight
    torch.testing.assert_close(theirs.head_vectors(), theirs.adjacency.T @ start)
    torch.testing.assert_close(text.head_vectors(), text.adjacency @ start)


def test_without_word_vectors_it_says_so(tmp_path):
    assert "starts without word vectors" in build(4, backbone="breg_next").settle(pretrained=False)
    for words in (str(tmp_path), "circumplex"):
        assert build(4, backbone="breg_next", words=words).settle(pretrained=False) == ""


@pytest.mark.parametrize("option", [{"isolated": "none"}, {"graph": "none"}, {"pool": "median"}])
def test_an_option_that_does_not_exist_is_refused(option):
    with pytest.raises(BadSetting, match=next(iter(option))):
        build(4, backbone="breg_next", **option)


def test_the_network_gets_its_graph_and_no_gradient_flows_into_it(statistics):
    network = build(4, backbone="breg_next")
    votes = np.eye(4, dtype=np.float32)[statistics.targets.clip(0)]
    network.prepare(replace(statistics, votes=votes))
    assert not torch.equal(network.adjacency, torch.eye(6))
    torch.testing.assert_close(network.adjacency.sum(dim=1), torch.ones(6))
    assert not network.adjacency.requires_grad
    assert "adjacency" in network.state_dict()


def test_without_valence_and_arousal_there_is_no_graph(statistics):
    bare = replace(statistics, affect=np.full((200, 2), np.nan, dtype=np.float32))
    with pytest.raises(BadData, match="builds its graph from training faces with a label, valence and arousal"):
        build(4, backbone="breg_next").prepare(bare)


def write_words(file, words, size=300):
    lines = [f"{word} {' '.join(f'{(i + 1) * k / 100:.3f}' for k in range(size))}" for i, word in enumerate(words)]
    file.write_text("\n".join(["the " + "0 " * (size - 1) + "0", *lines]) + "\n")


def test_word_vectors_come_from_the_file_that_the_user_names(statistics, tmp_path):
    write_words(tmp_path / "glove.txt", ["valence", "d", "c", "b", "a", "arousal"])
    network = build(4, backbone="breg_next", words=str(tmp_path / "glove.txt"))
    network.prepare(statistics)
    factors = network.words[:, 100].tolist()  # 1 for the first word of the file, 2 for the second
    assert factors == pytest.approx([5, 4, 3, 2, 1, 6])


@pytest.mark.parametrize(
    ("words", "size", "message"),
    [
        (["a", "b", "c", "valence", "arousal"], 300, "has no vector for 'd'"),
        (["a", "b", "c", "d", "valence", "arousal"], 50, "expected 300 numbers, got 50"),
    ],
)
def test_a_file_without_the_words_is_one_line(statistics, tmp_path, words, size, message):
    write_words(tmp_path / "glove.txt", words, size)
    with pytest.raises(BadData, match=message):
        build(4, backbone="breg_next", words=str(tmp_path / "glove.txt")).prepare(statistics)


def test_a_file_that_is_not_there_is_one_line(statistics, tmp_path):
    with pytest.raises(BadData, match="as word vectors"):
        build(4, backbone="breg_next", words=str(tmp_path / "none.txt")).prepare(statistics)


def test_words_of_similar_affect_have_similar_vectors():
    vectors = circumplex(FERPLUS)
    assert vectors.shape == (10, 300)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 5, rtol=1e-6)
    places = np.array([*(CIRCUMPLEX[label] for label in FERPLUS), (1, 0), (0, 1)])
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    similarities = vectors @ vectors.T / 25
    np.testing.assert_allclose(similarities, np.exp(-4 * distances**2), atol=2e-3)
    pairs = np.triu_indices(10, k=1)
    assert spearmanr(similarities[pairs], distances[pairs]).statistic < -0.999


def test_the_vectors_of_the_circumplex_need_no_file_and_are_the_same_everywhere():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 50)
    affect = rng.uniform(-1, 1, (50, 2)).astype(np.float32)
    network = build(2, backbone="breg_next", words="circumplex")
    network.prepare(DatasetStatistics(("happiness", "anger"), targets, affect))
    np.testing.assert_allclose(network.words.numpy(), circumplex(("happiness", "anger")))
    assert network.words[[0, 1], [219, 100]].tolist() == pytest.approx([1.9927, 2.0004], abs=1e-4)
    assert "words" in network.state_dict()


def test_the_circumplex_has_no_place_for_other_labels(statistics):
    with pytest.raises(BadData, match=r"words=circumplex has no place .* for 'a'"):
        build(4, backbone="breg_next", words="circumplex").prepare(statistics)


def test_votes_of_several_raters_say_what_else_a_face_could_be_called(statistics):
    votes = np.full((200, 4), 0.25, dtype=np.float32)
    assert co_occurrence(replace(statistics, votes=votes)) is votes


def test_without_several_raters_it_is_what_the_faces_in_the_same_square_are_called():
    affect = np.array([[-0.9, -0.9], [-0.8, -0.7], [-0.9, -0.65], [0.9, 0.9], [1, 1], [np.nan, 0]], dtype=np.float32)
    statistics = DatasetStatistics(("a", "b"), np.array([0, 1, 0, 1, -1, 0]), affect)
    found = co_occurrence(replace(statistics, votes=np.eye(2, dtype=np.float32)[statistics.targets.clip(0)]))
    np.testing.assert_allclose(found[:4], [[2 / 3, 1 / 3]] * 3 + [[0, 1]])
    assert np.isnan(found[4:]).all()
    related = strengths(correlations(statistics), statistics.targets, found, affect_edge=False)
    np.testing.assert_allclose(related[:2, :2], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
