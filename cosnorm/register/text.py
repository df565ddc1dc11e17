"""Open points of the dense networks on 20 Newsgroups (section 5.2 of the paper)."""

from __future__ import annotations

from cosnorm.experiments.ambiguity import NORMS
from cosnorm.register import answers
from cosnorm.register.register import OpenPoint, Reading

_SAME = {norm: norm for norm in NORMS}


def _prepared(ours: str, other: str, name: str) -> tuple[Reading, Reading]:
    return Reading(ours, "newsgroups", _SAME), Reading(other, f"ambiguity_text_{name}", _SAME)


POINTS = (
    OpenPoint(
        key="words",
        question="Which words are the 21 567 features?",
        section="5.2",
        paper="Those whose document frequency is larger than 5; they number 21 567.",
        readings=_prepared("at least 5 documents", "more than 5", "words"),
        reason="No rule of that kind gives 21 567. At least five of all training documents gives one less, "
        "and numbers that begin with 1, read as if they began with 0, would add one empty column.",
        fact=answers.words,
        chapter=16,
    ),
    OpenPoint(
        key="text-initial-weights",
        question="How large are the initial weights of a network that reads text?",
        section="5.2",
        paper='"0.1 variance" again, for 21 567 inputs as for 784.',
        readings=(Reading("standard deviation 0.1"), Reading("smaller for more inputs")),
        reason="One reading for all networks. With so many inputs it makes the first layer's weight vectors "
        "long, and only some techniques ever shorten them: chapter 16 asks what that does to the ranking.",
        missing="`newsgroups` with smaller initial weights in the first layer",
        chapter=16,
    ),
    OpenPoint(
        key="term-frequency",
        question="Which term frequency enters TF-IDF?",
        section="5.2",
        paper="TF-IDF, without a formula.",
        readings=_prepared("counts", "1 + log of counts", "counts"),
        reason="The count is the plainest reading.",
        chapter=16,
    ),
    OpenPoint(
        key="inverse-frequency",
        question="Which inverse document frequency enters TF-IDF?",
        section="5.2",
        paper="TF-IDF, without a formula.",
        readings=(Reading("log(N/d)"), Reading("smoothed")),
        reason="It does not matter: each feature is divided by its largest value afterwards, and the "
        "weight of a word with it.",
        fact=answers.inverse_frequency,
        settled=True,
        chapter=16,
    ),
    OpenPoint(
        key="clipping",
        question="What becomes of a test document whose feature is larger than any in the training set?",
        section="5.2",
        paper="Each feature is re-scaled to [0, 1].",
        readings=_prepared("set to 1", "left above 1", "unclipped"),
        reason="We take [0, 1] at its word. We chose so after seeing one seed of both: this entry is here "
        "because of that.",
        chapter=16,
    ),
    OpenPoint(
        key="document-length",
        question="Are documents brought to one length before their features are re-scaled?",
        section="5.2",
        paper="Nothing is said.",
        readings=_prepared("any length", "length 1", "lengths"),
        reason="What is not mentioned is not done.",
        chapter=16,
    ),
    OpenPoint(
        key="dropped-documents",
        question="Which documents are dropped?",
        section="5.2",
        paper="69 training and 5 test documents, at random.",
        readings=(Reading("one draw"), Reading("another draw")),
        reason="One draw for every run, from a generator with seed 0.",
        fact=answers.dropped,
        missing="`newsgroups` with another `drop_seed` of the preparation",
        chapter=16,
    ),
    OpenPoint(
        key="text-epochs",
        question="For how many epochs are the networks trained on text?",
        section="5.2",
        paper="No number is named; figures are means of the last 50.",
        readings=(
            Reading("all epochs", "newsgroups", _SAME),
            Reading("half of them", "newsgroups", _SAME, share=0.5),
            Reading("a quarter", "newsgroups", _SAME, share=0.25),
        ),
        reason="At paper scale as many as on MNIST. A run at a constant rate holds every shorter run, so the "
        "sweep costs nothing.",
        chapter=16,
    ),
    OpenPoint(
        key="text-rates",
        question="What if the rates on text are chosen on held-out documents?",
        section="5.2",
        paper="Each technique has a rate of its own, found in a way that is not told.",
        readings=(
            Reading("the paper's rates", "newsgroups", _SAME),
            Reading("chosen on held-out texts", "fair_newsgroups", _SAME),
        ),
        reason="As on MNIST.",
        chapter=19,
    ),
)
