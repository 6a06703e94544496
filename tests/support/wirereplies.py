"""Whether replies fit what took effect: each must have its place in the order that a model of the wire has replayed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from wiremodel import Effect, Model
from wiresignals import SETTABLE, same, same_all, shown
from wireverdicts import VIEWING, Sent

OVERTAKING = frozenset({*VIEWING, "pause", "set"})
"""What acts at the next frame boundary while a step is at work, and so may be answered before what waits for it."""


def explain(model: Model, replies: Sequence[Sent], unanswered: Sequence[Sent] = ()) -> None:
    """Check that the replies to commands, each origin's in the order they came in, fit what was replayed.

    Of the `unanswered` any may have taken effect, in order.
    """
    effects: dict[tuple[str, str], deque[Effect]] = defaultdict(deque)
    for effect in model.effects:
        effects[effect.entry["origin"], effect.entry["verb"]].append(effect)
    by_origin: dict[str, list[Sent]] = defaultdict(list)
    for sent in replies:
        by_origin[sent.origin].append(sent)
    for own in by_origin.values():
        _check_overtaking(own)
        _explain_one(model, own, effects)
    for sent in unanswered:
        queue = effects[sent.origin, sent.action]
        if queue and _is_effect_of(queue[0], sent):
            queue.popleft()
    left = [effect.entry for queue in effects.values() for effect in queue]
    assert not left, f"in the journal, and nobody has an ack: {left}"


def _explain_one(model: Model, own: list[Sent], effects: dict[tuple[str, str], deque[Effect]]) -> None:
    places: list[int | None] = []
    for sent in own:
        assert sent.reply is not None
        assert 0 <= sent.seen < len(model.segments), f"{sent} came after {sent.seen} events of {model.segments}"
        state = model.segments[sent.seen]
        places.append(None)
        if sent.action in VIEWING:
            assert sent.is_acked, f"{sent} was refused"
            stepped = any(effect.entry["verb"] == "step" for effect in model.effects)
            assert stepped or sent.reply.get("state", state) == state, f"{sent}: it was {state}"
            continue
        if not sent.is_acked:
            assert sent.reply["code"] == "invalid_state", f"{sent} was refused"
            (foretold, *_) = model.foretell(sent.verdict, state)
            assert foretold.code == "invalid_state", f"{sent} is legal while {state}"
            continue
        effect = _taken(effects[sent.origin, sent.action], sent)
        if effect is not None:
            places[-1] = effect.place if sent.action not in ("step", "run") else None
            continue
        idle = {"pause": "paused", "resume": "running"}.get(sent.action)
        assert idle == state, f"{sent} has an ack while {state} and is not in the journal"
    _explain_values(model, own, places)


def _explain_values(model: Model, own: list[Sent], places: list[int | None]) -> None:
    """Check that what each `get` shows held at some place between its sender's own commands around it."""
    low = 0
    for at, sent in enumerate(own):
        place = places[at]
        if place is not None:
            low = max(low, place + 1)
        if sent.action != "get":
            continue
        assert sent.reply is not None
        high = next((later for later in places[at:] if later is not None), len(model.history) - 1)
        values = sent.reply["values"]
        asked = [name for name in values if name in SETTABLE]
        while low <= high and not all(same(values[name], shown(model.history[low][name])) for name in asked):
            low += 1
        assert low <= high, f"{sent} shows values that never were between its sender's own commands"


def _taken(effects: deque[Effect], sent: Sent) -> Effect | None:
    """Take the effect that an ack reports, if it is the next of its kind."""
    assert sent.reply is not None
    if not effects:
        return None
    effect = effects[0]
    reply = sent.reply
    own_cut = effect.cuts if effect.cuts is not None and effect.cuts.entry["origin"] == sent.origin else None
    if sent.action in ("pause", "resume"):
        later = sent.seen < effect.seen or reply["frame"] != effect.frame
        if later or (own_cut is not None and not own_cut.is_answered):
            return None
    effects.popleft()
    effect.is_answered = True
    assert reply["frame"] == effect.frame, f"{sent} took effect as {effect}"
    assert sent.seen >= effect.seen, f"{sent}: its ack came before the event of {effect}"
    assert _is_effect_of(effect, sent), f"{sent} took effect as {effect}"
    if sent.action in ("step", "run"):
        assert reply["completed"] == effect.completed, f"{sent} took effect as {effect}"
    return effect


def _is_effect_of(effect: Effect, sent: Sent) -> bool:
    """Return whether a journal entry says what was sent."""
    params = {key: value for key, value in effect.entry.items() if key not in ("frame", "verb", "origin")}
    if sent.action == "set":
        return params.keys() == {"values"} and same_all(params["values"], sent.verdict.params["values"])
    return params == sent.verdict.params


def _check_overtaking(own: list[Sent]) -> None:
    """Check that replies came in the order of the commands, but for what may overtake a step or a run."""
    for at, later in enumerate(own):
        for earlier in own[at + 1 :]:
            if earlier.order < later.order:
                held = earlier.action in ("step", "resume", "reset") and later.action in OVERTAKING
                held |= earlier.action == "run" and later.action != "run"
                assert held, f"{later} was answered before {earlier}"
