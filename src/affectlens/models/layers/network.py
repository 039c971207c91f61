"""Interface of networks for training, export and figures; the defaults are those of a network with only logits."""

from typing import cast

from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.models.layers.outputs import Outputs


class Network(nn.Module):
    """The base of architectures: (B, C, H, W) float32 normalised faces -> (B, classes) logits or `Outputs`.

    An architecture overrides what applies to it. One that sets `classifier`, an `nn.Linear` on its feature vector, can
    have it replaced by a support vector machine; one that sets `backbone` can lend its trained backbone to another.

    Attributes:
        feature_width: D of the feature vector in `Outputs.features`; 0 where there is none.
        expressions: the logits tell expressions; not those of a network for another task alone.
        needs: outputs in `core.outputs` whose truth training has to draw from the landmarks of the faces ("mask").
        embeds_once: everything up to `embed` is frozen, so that a face needs to be embedded once, not in every epoch.
        outer_options: options of its `build` that `embed` does not depend on.
        explains: the network fills `Outputs.explanation` while `explaining` is on.
        first_place: where the middle of the first place of that map lies (`core.session.ModelSpec`).
    """

    feature_width: int = 0
    expressions: bool = True
    needs: tuple[str, ...] = ()
    embeds_once: bool = False
    outer_options: tuple[str, ...] = ()
    explains: bool = False
    explaining: bool = False
    first_place: float = 0.5

    def load_pretrained(self, file: str = "") -> None:
        """Load the published weights, from `file` or, without one, from where they are published.

        Raises:
            BadSetting: there are none for this network. BadModelFile: they cannot be had, or do not fit.
        """
        del file
        raise BadSetting("this model has no published weights; set pretrained=false")

    def load_frozen(self) -> None:
        """Load the weights of frozen parts that have a file of their own.  Raises BadModelFile."""

    def settle(self, pretrained: bool) -> str:
        """Freeze what does not learn; return why it learns after all, for lack of trained weights, else ""."""
        del pretrained
        return ""

    def prepare(self, statistics: DatasetStatistics) -> None:
        """Compute what depends on the whole training set.  Raises BadData where the set lacks it."""

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D) feature vectors, of networks whose outputs are `answers` of these."""
        raise NotImplementedError

    def answers(self, features: Tensor) -> Outputs:
        """(B, D) of `embed` -> the outputs, without explanation."""
        raise NotImplementedError

    def head_vectors(self) -> Tensor | None:
        """(K, D) weights on the feature vector: of the classes, then of valence and arousal if K is classes + 2.

        None where the network has no such weights.

        Raises:
            BadSetting: its options make them incomparable.
        """
        classifier = getattr(self, "classifier", None)
        return classifier.weight if isinstance(classifier, nn.Linear) else None

    def graph(self) -> Tensor | None:
        """(K, K) adjacency of a graph of the classes, valence and arousal; rows sum to 1, or to less for nodes without
        neighbours. None without one.
        """
        return None


def as_network(module: nn.Module) -> Network:
    """The network itself; a module of another class becomes one, with the defaults for what it does not define.

    Its class is replaced by one that derives from both, so that the names of its weights stay as they are.
    """
    if not isinstance(module, Network):
        own = type(module)
        module.__class__ = type(own.__name__, (own, Network), {})
    return cast(Network, module)
