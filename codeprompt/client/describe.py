"""The service's calls as methods; each is described in `questions` or `operations`."""

from __future__ import annotations

from codeprompt.client import operations, questions
from codeprompt.client.calls import Method, Streaming


class Calls:
    """Every call of the service as a method. Arguments and answers stand where it is described."""

    answer = Method(questions.answer)
    summarize = Method(questions.summarize)
    translate = Method(questions.translate)
    defects = Method(questions.defects)
    localize = Method(questions.localize)
    stream = Streaming(questions.stream)
    batch = Method(questions.batch)
    health = Method(operations.health)
    ready = Method(operations.ready)
    status = Method(operations.status)
    metrics = Method(operations.metrics)
    clear_cache = Method(operations.clear_cache)
    shutdown = Method(operations.shutdown)
    packs = Method(operations.packs)
    pack = Method(operations.pack)
    upload_pack = Method(operations.upload_pack)
    activate = Method(operations.activate)
    retire = Method(operations.retire)
    rollback = Method(operations.rollback)
    upload = Method(operations.upload)
    submit_job = Method(operations.submit_job)
    jobs = Method(operations.jobs)
    job = Method(operations.job)
    cancel_job = Method(operations.cancel_job)
    resume_job = Method(operations.resume_job)
    follow = Streaming(operations.follow)
