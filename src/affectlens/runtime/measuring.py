"""The measures of an analyzer, and their values for each face."""

from collections.abc import Mapping, Sequence

from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.core.headers import make_measure
from affectlens.core.measures import CROP, LANDMARKS, QUALITY, Measure, Values, View
from affectlens.core.messages import warn_once
from affectlens.core.outputs import OUTPUTS


def make_measures(
    wanted: "Sequence[str | Measure] | None", outputs: Mapping[str, tuple[str, ...]]
) -> tuple[Measure, ...]:
    """The measures by name or as they are; None is all that are installed and can be had from a network's `outputs`,
    and what these say themselves.

    A measure that needs what nothing gives is left out too, with a warning in the log.

    `outputs` are those that `core.outputs` knows, with the names of their numbers; what one says in columns is a
    measure of its name.

    Raises:
        UnknownName: there is no such measure. BadSetting: something else is given, the network lacks an output that one
            needs, or two have the same name.
    """
    if isinstance(wanted, str):
        raise BadSetting(f"measures must be a list, for example ['{wanted}']")
    if isinstance(wanted, Measure):
        raise BadSetting(f"measures must be a list, got the single measure '{wanted.name}'")
    made = {name: OUTPUTS[name].measure(names) for name, names in outputs.items()}
    own = {name: measure for name, measure in made.items() if measure is not None}
    chosen = [*catalog.available("faces.measures"), *own] if wanted is None else wanted
    named = [(own.get(one) or make_measure(one)) if isinstance(one, str) else one for one in chosen]
    found = []
    for measure in named:
        if not isinstance(measure, Measure):
            raise BadSetting(f"measures must be names or affectlens.Measure objects, got {type(measure).__name__}")
        missing = [need for need in measure.outputs() if need not in outputs]
        if missing and wanted is not None:
            raise BadSetting(
                f"the measure '{measure.name}' needs '{missing[0]}', which is neither crop, landmarks or "
                "quality nor an output of this model"
            )
        if strange := [need for need in missing if need not in OUTPUTS]:
            warn_once(
                f"the measure '{measure.name}' is skipped: it needs '{strange[0]}', which is neither one of "
                f"{', '.join((CROP, LANDMARKS, QUALITY))} nor a known network output ({', '.join(OUTPUTS)})"
            )
        if not missing:
            found.append(measure)
    names = [measure.name for measure in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadSetting(f"two measures have the name '{twice[0]}'")
    return tuple(found)


def measured(measures: Sequence[Measure], face: View) -> dict[str, Values]:
    """What the measures say of a face, by name."""
    return {measure.name: measure.of_face(face) for measure in measures}
