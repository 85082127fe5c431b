"""Replies of a policy beside its own distribution, whatever stands next to them; what a reward model says of them."""

from dataclasses import replace

import pytest
import torch

from viva.align.reply import Prompt
from viva.align.reward import Setting, judged, model
from viva.align.rollout import Rollout
from viva.base.errors import Notice, Refusal
from viva.model import adapt, adapter, folder
from viva.model.adapt import lora
from viva.model.arch import llama
from viva.model.head import regress
from viva.model.init import initialise
from viva.text.tokens.learn import byte_bpe


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.Config(vocab_size=280).learn(["a cat sees a dog", "a dog hears a cat"] * 4)


def policy(tokenizer, seed=0, **changes):
    config = llama.Config(vocab=tokenizer.vocab_size, width=16, layers=2, heads=2, hidden=24, context=32, **changes)
    found = initialise(config.spec().build(), seed).eval()
    with torch.no_grad():
        found.embedding.weight.mul_(20)  # a distribution that is not nearly flat
    return config, found


def prompts(tokenizer, *texts):
    return [Prompt(tokenizer.encode(text), text, "", number) for number, text in enumerate(texts)]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_sampler_knows_how_likely_its_tokens_were(tokenizer, temperature):
    """Beside one forward pass over prompt and reply, without a cache and without neighbours."""
    _, found = policy(tokenizer)
    asked = prompts(tokenizer, "a cat", "a dog hears")
    said = Rollout(replies=3, max_new_tokens=9, temperature=temperature).drawn(found, tokenizer, asked, seed=1)
    assert [reply.prompt.number for reply in said] == [0, 0, 0, 1, 1, 1]
    for reply in said:
        ids = torch.tensor([[*reply.prompt.ids, *reply.ids]])
        with torch.no_grad():
            logs = (found(ids)[0, len(reply.prompt.ids) - 1 : -1] / temperature).log_softmax(-1)
        expected = logs.gather(1, torch.tensor(reply.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(reply.logs), expected, rtol=1e-4, atol=1e-5)
    assert len({tuple(reply.ids) for reply in said}) == 6


def test_a_reply_is_the_same_whatever_stands_beside_it(tokenizer):
    _, found = policy(tokenizer)
    rollout, asked = Rollout(replies=3, max_new_tokens=9), prompts(tokenizer, "a cat", "a dog hears", "a")
    whole = rollout.drawn(found, tokenizer, asked, seed=1)
    assert [reply.ids for reply in rollout.drawn(found, tokenizer, asked[:1], seed=1)] == [r.ids for r in whole[:3]]
    assert [reply.ids for reply in rollout.drawn(found, tokenizer, asked, seed=1, rows=2)] == [r.ids for r in whole]
    assert [reply.ids for reply in rollout.drawn(found, tokenizer, asked, seed=2)] != [r.ids for r in whole]


def test_a_reply_is_cut_or_ends_by_itself(tokenizer):
    _, found = policy(tokenizer)
    [asked] = prompts(tokenizer, "a cat")
    said = Rollout(replies=200, max_new_tokens=20).drawn(found, tokenizer, [asked], seed=0, rows=200)
    ended = [reply for reply in said if reply.ended]
    assert 0 < len(ended) < 200
    assert all(reply.ids[-1] in tokenizer.stops and tokenizer.decode(reply.ids[:-1]) == reply.text for reply in ended)
    assert {len(reply.ids) for reply in said if not reply.ended} == {20}


def test_the_likeliest_reply(tokenizer):
    _, found = policy(tokenizer)
    [reply] = Rollout(max_new_tokens=4).likeliest(found, tokenizer, prompts(tokenizer, "a cat"))
    ids = list(reply.prompt.ids)
    for token in reply.ids:
        assert token == found(torch.tensor([ids]))[0, -1].argmax()
        ids.append(token)


def test_a_reward_model_reads_prompt_and_reply(tokenizer, tmp_path):
    config, judge = policy(tokenizer, seed=3, head=regress.Config())
    folder.save(tmp_path / "judge", config, judge, tokenizer)
    _, found = policy(tokenizer)
    said = Rollout(replies=3, max_new_tokens=6).drawn(found, tokenizer, prompts(tokenizer, "a cat", "a dog"), seed=0)
    with pytest.warns(Notice, match=r"the reward model .*judge has no report: `viva reward report .* says what it is"):
        rewards = judged(model.Config(path=str(tmp_path / "judge")).build(Setting(tokenizer)), said)
    alone = [judge(torch.tensor([[*reply.prompt.ids, *reply.ids]])).item() for reply in said]
    ended = replace(said[0], ended=True, prompt=replace(said[0].prompt, tail=(7, 8)))
    whole = judge(torch.tensor([[*ended.prompt.ids, *ended.ids, 7, 8]])).item()
    judged_alike = model.Config(path=str(tmp_path / "judge")).build(Setting(tokenizer))
    assert judged_alike([ended, replace(ended, ended=False)]) == pytest.approx([whole, alone[0]], rel=1e-4, abs=1e-6)
    assert rewards == pytest.approx(alone, rel=1e-4, abs=1e-6) and len(set(alone)) == 6


def test_a_reward_model_may_be_an_adapter_on_its_base(tokenizer, tmp_path):
    """Its scores are those of the model that it and its base are together."""
    config, base = policy(tokenizer, seed=3)
    folder.save(tmp_path / "base", config, base, tokenizer)
    head = regress.Config()
    made = folder.load(tmp_path / "base", head=lambda own: head).model
    adapt.attach(made, lora.Config(), keep=("head",))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * parameter.requires_grad)
    what = {"base": str(tmp_path / "base"), "fingerprint": adapter.fingerprint(tmp_path / "base")}
    adapter.save(tmp_path / "judge", adapter.Adapter(config=lora.Config(), head=head, **what), made, tokenizer)
    said = Rollout(replies=2, max_new_tokens=6).drawn(base, tokenizer, prompts(tokenizer, "a cat"), seed=0)
    rewards = judged(model.Config(path=str(tmp_path / "judge")).build(Setting(tokenizer)), said)
    alone = [made(torch.tensor([[*reply.prompt.ids, *reply.ids]])).item() for reply in said]
    assert rewards == pytest.approx(alone, rel=1e-4, abs=1e-6) and len(set(alone)) == 2


def test_a_reward_model_must_read_the_same_ids_and_give_a_number(tokenizer, tmp_path):
    other = byte_bpe.Config(vocab_size=290).learn(["the old bird never likes the red bear"] * 8)
    config, judge = policy(other, head=regress.Config())
    folder.save(tmp_path / "other", config, judge, other)
    with pytest.raises(Refusal, match=r"the reward model .*other needs its own tokenizer"):
        model.Config(path=str(tmp_path / "other")).build(Setting(tokenizer))
    config, writer = policy(tokenizer)
    folder.save(tmp_path / "writer", config, writer, tokenizer)
    with pytest.raises(Refusal, match="a model must have the head regress to tell values, but found the head lm"):
        model.Config(path=str(tmp_path / "writer")).build(Setting(tokenizer))
    folder.save(tmp_path / "bare", *policy(tokenizer, head=regress.Config()))
    with pytest.raises(Refusal, match=r"the reward model .*bare must have its tokenizer.*none there.*copy the files"):
        model.Config(path=str(tmp_path / "bare")).build(Setting(tokenizer))
