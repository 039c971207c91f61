import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.core.sample import Dropped, Sample
from affectlens.data.source import SPLITS, parse

SHARED = Path(__file__).parents[4] / "shared" / "data" / "ferplus"
MAJORITIES = {"train": 25_045, "valid": 3_191, "test": 3_137}
PLURALITIES = {"valid": 3_517, "test": 3_529}
MODES = ("votes", "majority", "cross-entropy", "probability", "multi-target")

#               neu hap sur sad ang dis fear con unknown not-a-face
UNANIMOUS = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
SINGLE_VOTES = (6, 1, 0, 2, 1, 0, 0, 0, 0, 0)
UNKNOWN_ON_TOP = (2, 0, 0, 3, 0, 0, 0, 0, 5, 0)
NO_FACE_ON_TOP = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
ONLY_SINGLE_VOTES = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
SPLIT = (5, 0, 0, 5, 0, 0, 0, 0, 0, 0)
UNKNOWN_BREAKS_MAJORITY = (0, 0, 4, 0, 0, 0, 2, 0, 2, 0)
MAJORITY_BY_ZEROED_VOTES = (0, 0, 5, 0, 3, 0, 0, 0, 1, 1)
FOUR_WAYS = (3, 3, 2, 2, 0, 0, 0, 0, 0, 0)
CONTEMPT_ON_TOP = (2, 0, 0, 0, 0, 0, 0, 8, 0, 0)
SINGLE_VOTES_DECIDE = (1, 0, 2, 1, 1, 1, 1, 1, 1, 1)


def authors_target(votes, mode):
    """The target of ten votes in the words of the authors' code, over the eight labels, or None: left out.

    Votes that stand alone do not count. Majority: one label has more than half of the rest. Cross-entropy and
    probability: labels from the top, ties together, until they hold 75 % or are three; unknown and not-a-face end it,
    and count only when nothing was taken before. Multi-target: all labels with 30 % or more. Whatever was taken must
    hold more than half of the rest, and its top must be a label.
    """
    votes = [count if count > 1 else 0 for count in votes]
    total = sum(votes)
    taken = [0] * 10
    if mode == "majority":
        top = votes.index(max(votes))
        taken[top] = votes[top] if votes[top] > total / 2 else 0
    elif mode == "multi-target":
        taken = [count if count >= 0.3 * total else 0 for count in votes]
    else:
        labels, held, open_end = 0, 0, True
        while held < 0.75 * total and labels < 3 and open_end:
            most = max(votes)
            for column in [column for column in range(10) if votes[column] == most]:
                votes[column] = 0
                held += most
                if column < 8 or not any(taken):
                    taken[column] = most
                    labels += 1
                if column >= 8:
                    open_end = False
                    break
        if labels > 3:
            return None
    if sum(taken) <= total / 2 or taken.index(max(taken)) >= 8:
        return None
    return np.array(taken[:8]) / sum(taken[:8])


def naive_label(votes):
    """The label of more than half of the votes that do not stand alone, or None."""
    target = authors_target(votes, "majority")
    return None if target is None else FERPLUS[int(target.argmax())]


@pytest.fixture
def read_one(read):
    def only(folder, **options):
        (sample,) = read("ferplus", folder, **options)
        return sample

    return only


@pytest.fixture(scope="module")
def ballots():
    """Ten votes per face: one expression with a few strays, as crowds give them, and hard ties."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(10, 0.35), size=150)
    drawn = [tuple(map(int, generator.multinomial(10, share))) for share in shares]
    return [
        *drawn,
        UNANIMOUS,
        SINGLE_VOTES,
        UNKNOWN_ON_TOP,
        NO_FACE_ON_TOP,
        ONLY_SINGLE_VOTES,
        SPLIT,
        UNKNOWN_BREAKS_MAJORITY,
        MAJORITY_BY_ZEROED_VOTES,
        FOUR_WAYS,
        CONTEMPT_ON_TOP,
        (2, 2, 2, 2, 2, 0, 0, 0, 0, 0),
        (4, 0, 0, 0, 0, 0, 0, 0, 4, 2),
        (4, 0, 0, 2, 0, 0, 0, 0, 4, 0),
        (3, 0, 3, 0, 0, 0, 0, 0, 4, 0),
        (3, 3, 0, 0, 0, 0, 0, 0, 3, 0),
        (5, 0, 0, 0, 0, 0, 0, 0, 5, 0),
        (0, 7, 3, 0, 0, 0, 0, 0, 0, 0),
        (0, 6, 2, 2, 0, 0, 0, 0, 0, 0),
    ]


def test_a_face_carries_id_path_split_and_label(ferplus, read):
    folder = ferplus([UNANIMOUS], "valid")
    (sample,) = read("ferplus", folder, "valid")
    assert sample.id == "valid/fer0000000.png"
    assert sample.path == folder / "FER2013Valid" / "fer0000000.png"
    assert sample.split == "valid"
    assert sample.expression == "happiness"
    assert sample.content is None


@pytest.mark.parametrize("column", range(8))
def test_columns_follow_the_order_of_the_labels(ferplus, read_one, column):
    folder = ferplus([np.eye(10, dtype=int)[column] * 10])
    assert parse(f"ferplus:{folder}").labels() == FERPLUS
    assert read_one(folder).expression == FERPLUS[column]
    np.testing.assert_array_equal(read_one(folder).votes, np.eye(8)[column])


def test_single_votes_are_zeroed_and_the_rest_normalised(ferplus, read_one):
    sample = read_one(ferplus([SINGLE_VOTES]))
    np.testing.assert_allclose(sample.votes, [0.75, 0, 0, 0.25, 0, 0, 0, 0])
    assert sample.votes.dtype == np.float32


@pytest.mark.parametrize("votes", [UNKNOWN_ON_TOP, NO_FACE_ON_TOP, ONLY_SINGLE_VOTES])
def test_faces_without_a_usable_top_answer_are_dropped(ferplus, read, votes):
    first, second = read("ferplus", ferplus([votes, UNANIMOUS]))
    assert isinstance(first, Dropped)
    assert first.id == "train/fer0000000.png"
    assert isinstance(second, Sample)
    assert second.id == "train/fer0000001.png"


def test_unknown_and_no_face_on_top_share_a_reason(ferplus, dropped):
    folder = ferplus([UNKNOWN_ON_TOP, NO_FACE_ON_TOP, UNKNOWN_ON_TOP])
    assert dropped("ferplus", folder) == {"top vote is unknown or not a face": 3}


@pytest.mark.parametrize(
    ("votes", "expression"),
    [(SPLIT, None), (UNKNOWN_BREAKS_MAJORITY, None), (MAJORITY_BY_ZEROED_VOTES, "surprise")],
)
def test_a_majority_is_more_than_half_of_all_votes_that_remain(ferplus, read_one, votes, expression):
    assert read_one(ferplus([votes])).expression == expression


def test_unknown_votes_are_cut_off_the_distribution(ferplus, read_one):
    sample = read_one(ferplus([UNKNOWN_BREAKS_MAJORITY]))
    np.testing.assert_allclose(sample.votes, [0, 0, 4 / 6, 0, 0, 0, 2 / 6, 0], rtol=1e-6)


def test_each_split_reads_its_own_folder(ferplus, read):
    ferplus([UNANIMOUS], "train")
    folder = ferplus([UNANIMOUS, SPLIT], "test")
    assert [len(read("ferplus", folder, split)) for split in ("train", "test")] == [1, 2]


@pytest.mark.parametrize("mode", MODES[1:])
def test_targets_for_training_are_those_of_the_authors_code(ferplus, read, ballots, mode):
    entries = read("ferplus", ferplus(ballots), mode=mode)
    assert len(entries) == len(ballots)
    for votes, entry in zip(ballots, entries, strict=True):
        target = authors_target(votes, mode)
        assert isinstance(entry, Dropped) == (target is None), votes
        if target is not None:
            np.testing.assert_allclose(entry.votes, target, rtol=1e-6, err_msg=str(votes))


@pytest.mark.parametrize("mode", MODES)
def test_the_label_to_score_is_the_majority_in_every_mode(ferplus, read, ballots, mode):
    folder = ferplus(ballots)
    entries = read("ferplus", folder, mode=mode)
    scored = {entry.id: entry.expression for entry in entries if isinstance(entry, Sample)}
    assert len(scored) > 50
    for number, votes in enumerate(ballots):
        name = f"train/fer{number:07d}.png"
        if name in scored:
            assert scored[name] == naive_label(votes), votes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("split", ["valid", "test"])
def test_validation_and_test_are_always_scored_by_majority(ferplus, kept, ballots, split, mode):
    samples = kept("ferplus", ferplus(ballots, split), split, mode=mode)
    labels = {sample.id: sample.expression for sample in samples if sample.expression is not None}
    wanted = {f"{split}/fer{number:07d}.png": naive_label(votes) for number, votes in enumerate(ballots)}
    assert labels == {name: label for name, label in wanted.items() if label is not None}


def test_caciolai_takes_the_plurality_of_the_raw_votes(ferplus, kept):
    folder = ferplus([SINGLE_VOTES, SPLIT, UNKNOWN_BREAKS_MAJORITY, SINGLE_VOTES_DECIDE])
    samples = kept("ferplus", folder, protocol="caciolai")
    assert [sample.expression for sample in samples] == ["neutral", "neutral", "surprise", "surprise"]


def test_caciolai_gives_a_tie_to_the_first_column(ferplus, kept):
    (sample,) = kept("ferplus", ferplus([(0, 4, 0, 0, 0, 0, 0, 4, 2, 0)]), protocol="caciolai")
    assert sample.expression == "happiness"


@pytest.mark.parametrize("votes", [CONTEMPT_ON_TOP, UNKNOWN_ON_TOP, NO_FACE_ON_TOP])
def test_caciolai_drops_contempt_unknown_and_no_face(ferplus, read, votes):
    first, second = read("ferplus", ferplus([votes, UNANIMOUS]), protocol="caciolai")
    assert isinstance(first, Dropped)
    assert second.expression == "happiness"


def test_seven_classes_leave_contempt_out_of_faces_and_votes(ferplus, read):
    folder = ferplus([CONTEMPT_ON_TOP, (0, 6, 0, 0, 0, 0, 0, 3, 0, 0), UNANIMOUS])
    assert parse(f"ferplus:{folder}?classes=7").labels() == FERPLUS[:7]
    first, second, third = read("ferplus", folder, classes="7")
    assert (first.reason, second.expression) == ("top vote is contempt", "happiness")
    np.testing.assert_array_equal(second.votes, [0, 1, 0, 0, 0, 0, 0])
    assert third.votes.shape == (7,)


def test_caciolai_has_seven_classes(ferplus, kept):
    folder = ferplus([(2, 0, 0, 6, 0, 0, 0, 2, 0, 0)])
    assert parse(f"ferplus:{folder}?protocol=caciolai").labels() == FERPLUS[:7]
    (sample,) = kept("ferplus", folder, protocol="caciolai")
    assert sample.votes is None or sample.votes.shape == (7,)


def test_caciolai_validates_on_the_test_faces_and_tests_on_the_validation_faces(ferplus, kept):
    ferplus([UNANIMOUS], "valid")
    folder = ferplus([UNANIMOUS, UNANIMOUS], "test")
    valid = kept("ferplus", folder, "valid", protocol="caciolai")
    test = kept("ferplus", folder, "test", protocol="caciolai")
    assert {sample.path.parent.name for sample in valid} == {"FER2013Test"}
    assert {sample.path.parent.name for sample in test} == {"FER2013Valid"}
    assert [sample.id for sample in valid] == ["valid/fer0000000.png", "valid/fer0000001.png"]
    assert {sample.split for sample in test} == {"test"}


def test_tables_give_the_same_faces_as_folders(ferplus, ferplus_tables, read, ballots, tmp_path):
    def facts(folder):
        for one in read("ferplus", folder):
            yield (one.id, one.reason) if isinstance(one, Dropped) else (one.id, one.expression, one.votes.tolist())

    of_folders = list(facts(ferplus(ballots)))
    shutil.rmtree(tmp_path / "FER2013Train")
    of_tables = facts(ferplus_tables([("Training", f"fer{n:07d}.png", votes) for n, votes in enumerate(ballots)]))
    assert list(of_tables) == of_folders


def test_votes_of_the_table_go_with_the_pictures_of_the_folders_by_name(ferplus, ferplus_tables, read, refusal):
    folder, sad = ferplus([UNANIMOUS]), (0, 0, 0, 10, 0, 0, 0, 0, 0, 0)
    assert "needs" in refusal("ferplus", folder, votes="csv")
    ferplus_tables(
        [("Training", "", UNANIMOUS), ("Training", "fer0000000.png", sad), ("Training", "fer0000000.png", UNANIMOUS)]
    )  # the first row of a name counts
    assert [sample.expression for sample in read("ferplus", folder)] == ["happiness"]
    assert [sample.expression for sample in read("ferplus", folder, votes="csv")] == ["sadness"]
    ferplus_tables([("Training", "fer0000007.png", sad)])
    assert "no votes for 'fer0000000.png'" in refusal("ferplus", folder, votes="csv")


def test_pixels_of_the_tables_come_with_the_sample(ferplus_tables, fer2013, kept):
    folder = ferplus_tables([("Training", "fer0000000.png", UNANIMOUS)])
    fer2013([(0, " ".join(str(number % 256) for number in range(2304)), "Training")])
    (sample,) = kept("ferplus", folder)
    np.testing.assert_array_equal(sample.content, np.arange(2304).reshape(48, 48) % 256)
    assert sample.content.dtype == np.uint8


def test_usages_of_the_tables_are_the_splits(ferplus_tables, read):
    usages = ("PrivateTest", "Training", "PublicTest")
    folder = ferplus_tables([(usage, f"fer{number:07d}.png", UNANIMOUS) for number, usage in enumerate(usages)])
    ids = [[one.id for one in read("ferplus", folder, split)] for split in SPLITS]
    assert ids == [["train/fer0000001.png"], ["valid/fer0000002.png"], ["test/fer0000000.png"]]
    ids = [[one.id for one in read("ferplus", folder, split, protocol="caciolai")] for split in SPLITS]
    assert ids == [["train/fer0000001.png"], ["valid/fer0000000.png"], ["test/fer0000002.png"]]


def test_rows_without_an_image_name_are_dropped_under_ids_of_their_own(ferplus_tables, read):
    rows = [
        ("Training", "", NO_FACE_ON_TOP),
        ("Training", "", UNKNOWN_ON_TOP),
        ("Training", "fer0000002.png", UNANIMOUS),
    ]
    entries = read("ferplus", ferplus_tables(rows))
    assert [isinstance(entry, Dropped) for entry in entries] == [True, True, False]
    assert len({entry.id for entry in entries}) == 3


def test_tables_of_different_lengths_are_refused(ferplus_tables, fer2013, refusal):
    folder = ferplus_tables([("Training", "fer0000000.png", UNANIMOUS), ("Training", "fer0000001.png", UNANIMOUS)])
    fer2013([(0, "Training")])
    assert "fer2013" in refusal("ferplus", folder)


def test_tables_whose_rows_have_different_usages_are_refused(ferplus_tables, fer2013, refusal):
    folder = ferplus_tables([("Training", "fer0000000.png", UNANIMOUS), ("PublicTest", "fer0000001.png", UNANIMOUS)])
    fer2013([(0, "Training"), (0, "Training")])
    message = refusal("ferplus", folder)
    assert "line 3" in message
    assert "PublicTest" in message


def test_votes_without_pixels_are_refused(ferplus_tables, refusal):
    folder = ferplus_tables([("Training", "fer0000000.png", UNANIMOUS)])
    (folder / "fer2013.csv").unlink()
    assert "fer2013.csv" in refusal("ferplus", folder)


def test_a_missing_column_of_the_tables_is_named(ferplus_tables, refusal):
    folder = ferplus_tables([("Training", "fer0000000.png", UNANIMOUS)])
    table = folder / "fer2013new.csv"
    table.write_text(table.read_text().replace("contempt", "pride"))
    message = refusal("ferplus", folder)
    assert "fer2013new.csv" in message
    assert "contempt" in message


@pytest.mark.parametrize("votes", [(9, "x", 0, 0, 0, 0, 0, 0, 0, 0), (9, 0.5, 0, 0, 0, 0, 0, 0, 0, 0), (9, 1)])
def test_a_bad_line_of_the_tables_is_named(ferplus_tables, refusal, votes):
    rows = [("Training", "fer0000000.png", UNANIMOUS), ("Training", "fer0000001.png", votes)]
    message = refusal("ferplus", ferplus_tables(rows))
    assert "fer2013new.csv" in message
    assert "line 3" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('fer0000001.png,"(0, 0, 48, 48)",1,2,3\n', "expected name, box and ten votes, got 5 columns"),
        ("\nfer0000001.png\n", "expected name, box and ten votes, got 0 columns"),
        ('fer0000001.png,"(0, 0, 48, 48)",9,x,0,0,0,0,0,0,0,0\n', "votes must be integers"),
        ('fer0000001.png,"(0, 0, 48, 48)",9.5,0,0,0,0,0,0,0,0,0\n', "votes must be integers"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(ferplus, refusal, line, message):
    folder = ferplus([UNANIMOUS])
    table = folder / "FER2013Train" / "label.csv"
    table.write_text(table.read_text() + line)
    (folder / "FER2013Train" / "fer0000001.png").touch()
    assert refusal("ferplus", folder).startswith(f"{table}, line 2: {message}")


def test_a_face_whose_image_is_missing_is_dropped(ferplus, read, dropped):
    folder = ferplus([UNANIMOUS, UNANIMOUS])
    (folder / "FER2013Train" / "fer0000001.png").unlink()
    assert dropped("ferplus", folder) == {"image file is missing": 1}
    assert [one.id for one in read("ferplus", folder)] == ["train/fer0000000.png", "train/fer0000001.png"]


def test_a_table_that_is_not_text_is_bad_data(ferplus, refusal):
    folder = ferplus([UNANIMOUS])
    (folder / "FER2013Train" / "label.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "label.csv" in refusal("ferplus", folder)


def test_a_split_whose_folder_is_missing_has_no_faces(ferplus, read):
    assert read("ferplus", ferplus([UNANIMOUS]), "valid") == []


def test_a_folder_of_something_else_is_named(tmp_path, refusal):
    message = refusal("ferplus", tmp_path, "valid")
    assert str(tmp_path) in message
    assert "FER2013Valid" in message


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The official faces: an unpacked folder, or the label files of the archives beside empty images."""
    if "AFFECTLENS_FERPLUS" in os.environ:
        return Path(os.environ["AFFECTLENS_FERPLUS"])
    archives = sorted(SHARED.glob("FER2013*.tar.gz"))
    if not archives:
        pytest.skip(f"FER+ not found: AFFECTLENS_FERPLUS is not set and {SHARED} holds no FER2013*.tar.gz")
    folder = tmp_path_factory.mktemp("ferplus")
    for archive in archives:
        with tarfile.open(archive) as members:
            for member in members:
                if member.isdir():
                    (folder / member.name).mkdir()
                elif member.name.endswith("label.csv"):
                    members.extract(member, folder, filter="data")
                else:
                    (folder / member.name).touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "split", "faces"),
    [("standard", *item) for item in MAJORITIES.items()] + [("caciolai", *item) for item in PLURALITIES.items()],
)
def test_the_official_faces_give_the_known_numbers_of_labels(archives, read, protocol, split, faces):
    entries = read("ferplus", archives, split, protocol=protocol)
    assert sum(isinstance(one, Sample) and one.expression is not None for one in entries) == faces
    assert len({one.id for one in entries}) == len(entries)


def test_valence_and_arousal_are_given_only_by_name_as_the_expectation_under_the_votes(ferplus, read_one):
    folder = ferplus([SINGLE_VOTES])
    assert (read_one(folder).valence, read_one(folder).arousal) == (None, None)
    # 0.75 neutral (0, 0) and 0.25 sadness (-0.63, -0.27), in every mode
    for mode in ("votes", "majority"):
        sample = read_one(folder, va="projected", mode=mode)
        assert (sample.valence, sample.arousal) == pytest.approx((-0.1575, -0.0675))
    # without the outlier rule also happiness (0.76, 0.48) and anger (-0.51, 0.59), of ten votes
    sample = read_one(folder, va="projected", protocol="caciolai")
    assert (sample.valence, sample.arousal) == pytest.approx((-0.101, 0.053))


def test_projected_valence_and_arousal_are_marked_in_the_name_of_the_data(ferplus):
    folder = ferplus([UNANIMOUS])
    assert parse(f"ferplus:{folder}?va=projected").name == "ferplus&protocol=standard&mode=votes&va=projected"
    assert parse(f"ferplus:{folder}").name == "ferplus&protocol=standard&mode=votes"
