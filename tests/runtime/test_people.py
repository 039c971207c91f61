import pytest

from affectlens import Analysis, Reason
from affectlens.runtime.people import People

LABELS = ("neutral", "happiness")


def test_people_are_counted_by_track(make_face):
    people = People()
    for i in range(10):
        faces = [make_face(track=3, uncertain=i < 2, expression="happiness" if i < 7 else "neutral", valence=0.1 * i)]
        if i in (4, 5):
            faces.append(make_face(track=5, valence=None, arousal=None))
        people.add(Analysis("clip", "m", LABELS, tuple(faces), frame=i, time_s=i / 10))
    people.add(Analysis("clip", "m", LABELS, reason=Reason.NO_FACE, frame=10, time_s=1.0))
    people.add(Analysis("photo", "m", LABELS, (make_face(),)))
    first, second = people.persons.values()
    assert (first.track, first.first_s, first.last_s, first.frames, first.uncertain) == (3, 0.0, 0.9, 10, 2)
    assert first.mostly == ("happiness", 0.7)
    assert first.affect == (pytest.approx(0.45), pytest.approx(0.36))
    assert (second.track, second.first_s, second.last_s, second.frames, second.affect) == (5, 0.4, 0.5, 2, None)
