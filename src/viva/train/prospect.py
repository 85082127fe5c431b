"""What a run is about to do, and what that takes."""

from viva.base.config import kind
from viva.text.preflight.report import Run
from viva.train.cost import cost
from viva.train.job import Job, State
from viva.train.lesson import lesson
from viva.train.loop import length
from viva.train.remarks import remarks
from viva.train.start import Parts


def prospect(parts: Parts, job: Job, state: State) -> Run:
    """Of a run that is about to begin in that state."""
    batches = job.data.micro_batches(0)
    tokens, steps = sum(batch.tokens for batch in batches), length(job.train, job.data)
    taken = cost(job, tokens)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in job.model.parameters()]
    return Run(
        model=kind(parts.config),
        parameters=sum(size for size, _ in sizes),
        trained=sum(size for size, is_trained in sizes if is_trained),
        precision=job.precision.name,
        device=job.precision.device,
        steps=steps,
        minutes=job.train.minutes,
        steps_an_epoch=job.data.steps_an_epoch,
        tokens_an_epoch=sum(span.length for row in parts.train.epoch(0) for span in row),
        tokens_a_step=tokens,
        batch=[lesson(batches[0], job.model, parts.form, parts.tokenizer)],
        notes=[
            *([f"going on from {parts.begun}, step {state.step}"] if parts.begun else []),
            *([f"{len(parts.added)} tokens are added: {', '.join(parts.added)}"] if parts.added else []),
            *remarks(parts, job, state),
        ],
        **vars(taken),
    )
