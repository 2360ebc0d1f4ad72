"""The computing of the engine's thread: encode what is admitted, and step the flights.

Nothing here waits, locks or knows who asked; the scheduler says what is admitted and when.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from codeprompt.answer import Encoded, Prompt, encode, settled, sorted_out
from codeprompt.backbones.decoding import Hypothesis
from codeprompt.backbones.generation import checked
from codeprompt.backbones.search import Ask, Tokens
from codeprompt.backbones.threads import shared
from codeprompt.engine.flight import Flight, kind_of
from codeprompt.engine.job import Job, Outcome

ALIKE = 0.6
"""The share of the longest row's length from which a row is encoded with it."""
TURN = 8
"""What nobody is in a hurry for gets one turn in so many while others run."""
SLICE = 0.1
"""Seconds that encoding may hold up a turn, by the pace that was measured."""
TOKENS = 1024
"""Source tokens encoded in a turn at most: more gain nothing a token, and take memory."""
Done = tuple[Job, Outcome]
FlightKey = tuple[int, tuple[int, bool], bool, int]


def urgent(job: Job) -> bool:
    """Whether somebody looks at a screen and waits."""
    return job.priority.urgent


class Work:
    """Flights by model, number of beams and urgency."""

    def __init__(self) -> None:
        self.flights: dict[FlightKey, Flight[Job]] = {}
        self.steps = self.tokens = 0
        self.pace = SLICE / TOKENS

    @property
    def tokens_a_turn(self) -> int:
        """Source tokens to encode in one turn: what runs, and what comes, waits for them."""
        return min(TOKENS, int(SLICE / self.pace))

    @property
    def background_turn(self) -> bool:
        """Whether this turn goes on with what nobody is in a hurry for, whatever else there is."""
        return self.steps % TURN == 0

    def jobs(self) -> Iterator[Job]:
        """All that are in the air; any thread may ask."""
        for flight in list(self.flights.values()):
            yield from list(flight.seats)

    def admit(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Encode jobs, rows of like length together; those that classify are answered.

        A job that fails does so alone: what was encoded with it is tried again by itself.
        """
        for group in _alike(jobs):
            try:
                yield from self._admit(group)
            except Exception as error:
                if len(group) == 1:
                    yield group[0], error
                    continue
                for job in group:
                    yield from self.admit([job])

    def step(self) -> Iterator[Done]:
        """One step of each flight; of the urgent ones alone, where there are any."""
        hurry = [key for key, f in self.flights.items() if any(map(urgent, f.seats))]
        chosen = list(self.flights) if self.background_turn or not hurry else hurry
        self.steps += 1
        for key in chosen:
            flight = self.flights[key]
            try:
                with shared(flight.rows, flight.model.d_model):
                    done = flight.step()
                answers = flight.answers(done)
            except Exception as error:
                del self.flights[key]
                for job in flight.seats:
                    yield job, error
                continue
            self.tokens += len(flight.seats)
            finished = [flight.seats[row] for row in done]
            self._leave(key, done)
            for job, hypotheses in zip(finished, answers, strict=True):
                yield job, _outcome(job, hypotheses)

    def news(self) -> Iterator[tuple[Job, str]]:
        """The text so far of those whose answer is told as it comes."""
        for flight in self.flights.values():
            if not any(job.streams for job in flight.seats):
                continue
            for row, (job, new) in enumerate(zip(flight.seats, flight.news(), strict=True)):
                if new and job.streams:
                    tokenizer = job.loaded.prompt.plan.tokenizer
                    # A character may be cut within its bytes: it is told once it is whole.
                    yield job, tokenizer.decode(flight.ids(row)).strip().rstrip("\ufffd")

    def drop(self, gone: Callable[[Job], bool]) -> None:
        """Rows that nobody wants any more leave."""
        for key, flight in list(self.flights.items()):
            self._leave(key, [row for row, job in enumerate(flight.seats) if gone(job)])

    def _leave(self, key: FlightKey, rows: Sequence[int]) -> None:
        flight = self.flights[key]
        if len(rows) == len(flight.seats):
            del self.flights[key]
        elif rows:
            flight.leave(rows)

    def _admit(self, jobs: Sequence[Job]) -> Iterator[Done]:
        model, prompts = jobs[0].loaded.model, list({id(j.loaded): j.loaded for j in jobs}.values())
        places = {id(loaded): place for place, loaded in enumerate(prompts)}
        index = [places[id(job.loaded)] for job in jobs]
        known = [loaded.prompt for loaded in prompts]
        began = time.perf_counter()
        encoded = encode(model, known, index, [job.rendered for job in jobs])
        out: list[Done] = []
        for place, prompt in enumerate(known):
            mine = [row for row, own in enumerate(index) if own == place]
            if prompt.plan.kind != "generate":
                found = sorted_out(model, prompt, encoded.select(mine))
                out += [(jobs[row], p) for row, p in zip(mine, found, strict=True)]
        flights: dict[FlightKey, list[int]] = {}
        for row, job in enumerate(jobs):
            if job.loaded.prompt.plan.kind == "generate":
                key = (id(model), kind_of(job.decoding), urgent(job), encoded.counts[row])
                flights.setdefault(key, []).append(row)
        for key, rows in flights.items():
            self._board(key, model, [jobs[row] for row in rows], encoded.select(rows))
        self._paced(encoded, time.perf_counter() - began)
        yield from out

    def _paced(self, encoded: Encoded, seconds: float) -> None:
        self.pace += 0.2 * (seconds / encoded.source.ids.numel() - self.pace)

    def _board(self, key: FlightKey, model: Any, jobs: Sequence[Job], encoded: Encoded) -> None:
        flight = self.flights.get(key)
        if flight is None:
            tokens = _tokens(jobs[0].loaded.prompt)
            flight = Flight(model, jobs[0].decoding, tokens, members=key[-1])
        flight.join(
            jobs,
            [Ask(job.decoding) for job in jobs],
            encoded.hidden,
            encoded.source,
            encoded.injected,
            [job.loaded.steps for job in jobs],
            encoded.table,
        )
        self.flights[key] = flight


def _tokens(prompt: Prompt) -> Tokens:
    tokenizer = prompt.plan.tokenizer
    return Tokens(tokenizer.eos_id, tokenizer.pad_id, prompt.plan.backbone.start_id)


def _outcome(job: Job, hypotheses: list[Hypothesis]) -> Outcome:
    try:
        model, prompt = job.loaded.model, job.loaded.prompt
        return settled(model, prompt, job.fields, checked(hypotheses), job.decoding)
    except Exception as error:
        return error


def _alike(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs of one model and of like length, so that little is computed for padding."""
    group: list[Job] = []
    for job in sorted(jobs, key=lambda job: (id(job.loaded.model), -job.length)):
        longest = group[0] if group else job
        other = job.loaded.model is not longest.loaded.model
        if other or job.length < math.ceil(ALIKE * longest.length):
            yield group
            group = []
        group.append(job)
    if group:
        yield group
