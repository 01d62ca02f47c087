"""The schema of a configuration: one for local and remote runs, for SFT, RL and evaluation.

Frozen models; unknown keys are refused. `None` in `training` means the default of TRL itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from tenyson.config.patterns import FACTORY, RUN_ID
from tenyson.config.section import DatabaseUrl, EndpointUrl, Section, UserPath, VariableName


def _added_or_given(names: list[str] | None) -> list[str] | None:
    added = [name for name in names or () if name.startswith("+")]
    if added and len(added) < len(names or ()):
        raise ValueError(
            f"write + before all names, which adds them to the default ones, or before none, not before {added[0][1:]} alone"
        )
    return names


class RunConfig(Section):
    """Which run this is."""

    id: str | None = Field(default=None, pattern=RUN_ID)
    """Name of the run and of its folder; generated from job, task and time if not given."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of weights, data order and sampling."""
    output_dir: UserPath = "./outputs"
    """Folder that holds one folder for each run."""
    allow: list[str] = []
    """Preflight checks whose errors are only warnings, such as [memory]."""


_RENDERED = {
    "conversation",
    "messages",
    "tools",
    "documents",
    "chat_template",
    "add_generation_prompt",
    "continue_final_message",
    "tokenize",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
}
"""Arguments of `apply_chat_template` that are no variables of a template, or are made here."""


class ModelConfig(Section):
    """What is trained or measured."""

    name: UserPath | None = None
    """Model on the Hugging Face Hub, a directory, or the id of an earlier run that trained a full model."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    factory: str | None = Field(default=None, pattern=FACTORY)
    """A "module:function" that writes a model directory, `function(directory, seed, **factory_args)`: for models built from scratch."""
    factory_args: dict[str, Any] = {}
    """Keyword arguments of `factory`."""
    adapter: UserPath | None = None
    """PEFT adapter to start from: a directory, `repo:revision`, or the id of an earlier run."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto"
    """Type of the loaded weights; `auto` takes bfloat16 on a GPU and float32 on a CPU. Where a CPU has instructions for bfloat16,
    `auto` trains models of 50 million parameters or more with its forward passes in bfloat16 (`trl.bf16`)."""
    attn_implementation: str | None = None
    """Attention kernel of transformers, such as "sdpa" or "flash_attention_2"."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    load_args: dict[str, Any] = {}
    """Further arguments of transformers' `from_pretrained` and attributes of the model's configuration, verbatim, such as
    {quantization_config: {load_in_4bit: true, bnb_4bit_quant_type: nf4}} or {rope_parameters: {...}}."""
    new_tokens: list[str] = []
    """Tokens that the model is given if it lacks them, such as ["<think>", "</think>"], each one token of a text from then on. Their
    embeddings begin with the mean of the others."""
    chat_template_kwargs: dict[str, Any] = {}
    """Variables of the chat template, such as {enable_thinking: false}: the same in SFT, RL and evaluation."""
    system: Literal["template", "merge"] = "template"
    """System messages: `template` writes them as the chat template does and refuses those that it has no place for (Gemma 1 and 2);
    `merge` puts them before the first user message."""
    allow_other_template: bool = False
    """Whether weights may be used with another chat template, tokenizer or set of stop tokens than they were trained with."""

    @field_validator("new_tokens")
    @classmethod
    def _tokens(cls, value: list[str]) -> list[str]:
        for token in value:
            if not token.strip() or value.count(token) > 1:
                raise ValueError(f"{token!r} is {'given twice' if token.strip() else 'no token'}")
        return value

    @field_validator("chat_template_kwargs")
    @classmethod
    def _template_variables(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(value.keys() & _RENDERED):
            raise ValueError(
                f"{taken[0]} is decided by how Tenyson renders a conversation; give variables of the template"
            )
        return value

    @model_validator(mode="after")
    def _has_a_source(self) -> ModelConfig:
        if (self.name is None) == (self.factory is None):
            raise ValueError("give either model.name or model.factory")
        return self


class TaskConfig(Section):
    """What is learnt."""

    name: str | None = None
    """Name of an installed task (`tenyson plugins` lists them)."""
    module: UserPath | None = None
    """A Python file with one TaskPlugin class, or "module.path:ClassName"."""
    args: dict[str, Any] = {}
    """Keyword arguments of the task's constructor."""
    secrets: list[VariableName] = []
    """NAMES of environment variables that the task reads, such as a judge's key: rented machines get them, records do not."""


Sign = Literal[
    "zero_variance",
    "truncated",
    "entropy_collapse",
    "no_signal",
    "logprob_mismatch",
    "length_drift",
    "one_component",
    "refused_calls",
]
"""Signs that the live diagnosis of GRPO may report (`tenyson.jobs.trainers.diagnosis`)."""


class TrainingConfig(Section):
    """How a job trains."""

    epochs: float = Field(default=1.0, gt=0)
    """Passes over the samples; `max_steps` takes precedence."""
    max_steps: int | None = Field(default=None, gt=0)
    """Optimizer steps."""
    samples: int | None = Field(default=None, gt=0)
    """Use at most this many of the task's samples."""
    learning_rate: float | None = Field(default=None, ge=0)
    """Peak learning rate."""
    lr_scheduler: str = "linear"
    """Name of a transformers schedule, such as "linear", "cosine" or "constant"."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of linear warm-up."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm."""
    batch_size: int = Field(default=8, gt=0)
    """Sequences for each device and forward pass; in RL these are completions."""
    gradient_accumulation_steps: int = Field(default=1, gt=0)
    """Forward passes for each optimizer step."""
    gradient_checkpointing: bool = False
    """Trade a third more compute for much less activation memory."""
    max_length: int | None = Field(default=1024, gt=0)
    """Longest sequence in tokens; longer ones are cut, counted and reported."""
    reasoning: Literal["keep", "last", "drop"] = "keep"
    """SFT and DPO: `keep` trains every reply with its reasoning, after earlier ones as the model wrote them; `last` trains the last
    reply alone, after earlier ones as the chat template writes history; `drop` leaves reasoning out."""
    packing: bool = False
    """SFT: pack short samples together (best-fit, no attention across samples)."""
    logging_steps: int = Field(default=1, gt=0)
    """Steps between two rows of metrics."""
    eval_steps: int | None = Field(default=None, gt=0)
    """Steps between two evaluations on the eval split; none means no evaluation while training."""
    eval_samples: int | None = Field(default=None, gt=0)
    """Use at most this many samples of the eval split."""
    save_steps: int | None = Field(default=None, gt=0)
    """Steps between two checkpoints; a run that is stopped writes one in any case."""
    save_minutes: float | None = Field(default=10, gt=0)
    """Minutes between two checkpoints if `save_steps` is not given; null for none during training."""
    save_in_background: bool = True
    """Whether training continues while a checkpoint is written. A kill during a save costs the steps since the previous
    checkpoint; if false, never more than one interval."""
    save_total_limit: int | None = Field(default=2, gt=0)
    """Number of checkpoints to keep, beside the best one and those that other runs start from."""
    resume_from_checkpoint: UserPath | None = None
    """A checkpoint directory, `repo:revision`, or "latest" for the newest one of this run."""
    accept_changes: list[str] = []
    """Resume: settings that may differ from the checkpoint's, such as [training.learning_rate]; any other difference is
    refused."""
    early_stopping_patience: int | None = Field(default=None, gt=0)
    """Evaluations without improvement of eval_loss before training stops."""
    early_stopping_min_delta: float = Field(default=0.0, ge=0)
    """eval_loss must fall by more than this to count as an improvement."""
    target_eval_loss: float | None = Field(default=None, gt=0)
    """Training stops at the first evaluation whose eval_loss is at or below this."""
    preflight_groups: int = Field(default=2, ge=0)
    """RL: groups that are played before the first step, to see whether their rewards differ; 0 for none."""
    check_every: int = Field(default=10, gt=0)
    """RL with vLLM on a CPU: steps after which the engine's log-probabilities are compared with the trainer's again."""
    pause_on: list[Sign] = []
    """RL: signs of the live diagnosis at which training pauses until `tenyson resume RUN`."""
    num_generations: int = Field(default=8, gt=1)
    """RL: completions for each prompt, the group that GRPO compares."""
    beta: float = Field(default=0.0, ge=0)
    """RL: weight of the KL term against the starting policy."""

    @model_validator(mode="after")
    def _stops_on_what_is_evaluated(self) -> TrainingConfig:
        for key in ("early_stopping_patience", "target_eval_loss"):
            if getattr(self, key) is not None and self.eval_steps is None:
                raise ValueError(f"{key} looks at eval_loss, so it needs eval_steps")
        return self


SamplingParameter = Literal["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed"]


class GenerationConfig(Section):
    """How text is generated, in RL rollouts and in evaluation alike."""

    engine: str = "auto"
    """`vllm`, `transformers`, `openai` for a model behind a URL (`endpoint`), another installed engine, or `auto`."""
    max_new_tokens: int = Field(default=256, gt=0)
    """Tokens of one reply (one turn)."""
    temperature: float = Field(default=1.0, ge=0)
    """0 means greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; 1 is off."""
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 is off."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Exclude tokens less likely than this fraction of the likeliest one; 0 is off."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Divide the logits of tokens that occur in the prompt or the reply by this; 1 is off."""
    max_turns: int = Field(default=32, gt=0)
    """Multi-turn tasks: replies after which a rollout is cut off."""


class RolloutsConfig(Section):
    """What runs beside generation, in RL and in evaluation alike: the task's environments, tools, rewards and agents."""

    concurrency: int = Field(default=64, gt=0)
    """Calls at once."""
    step_seconds: float | None = Field(default=None, gt=0)
    """Seconds after which a call counts as failed, or an agent that neither asks nor ends; empty for no limit."""
    reward_seconds: float | None = Field(default=None, gt=0)
    """Seconds after which one call of a reward counts as failed; empty for no limit."""
    rollout_seconds: float | None = Field(default=None, gt=0)
    """Seconds for a whole rollout, the model's replies included; empty for no limit."""
    retries: int = Field(default=2, ge=0)
    """Further tries of what raises or does not answer in time: of a reward's call, or of a rollout with a fresh environment or agent."""
    max_failed: float | None = Field(default=None, ge=0, le=1)
    """Largest share of rollouts that may fail: in three batches in a row of RL (default 0.1), or of an evaluation (default 0)."""
    on_failed: Literal["end", "pause"] = "end"
    """RL, where more fail: end with a checkpoint, or pause until `tenyson resume RUN`. Several processes always end."""


class EndpointConfig(Section):
    """The model behind a URL that `generation.engine: openai` asks in an evaluation. `model.name` is its name there."""

    url: EndpointUrl | None = None
    """Where the OpenAI-compatible API begins, such as https://api.openai.com/v1 or http://localhost:8000/v1."""
    api_key_env: VariableName | None = None
    """NAME of the environment variable that holds the key; none where the endpoint wants no key."""
    concurrency: int = Field(default=16, gt=0)
    """Conversations at once, with one request each."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests sent in a minute. Limits that the endpoint's answers tell are obeyed in any case."""
    seconds: float = Field(default=120.0, gt=0)
    """Seconds for one answer."""
    retry_seconds: float = Field(default=300.0, ge=0)
    """Seconds for which a request that fails for a passing reason is repeated."""
    parameters: list[SamplingParameter] = ["temperature", "top_p", "seed"]
    """Parameters of sampling that the endpoint takes, each of which is sent with every request. Others stay the endpoint's own;
    where `generation` sets one of them, it is refused."""
    limit_parameter: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the endpoint calls generation.max_new_tokens; older servers know max_tokens only."""
    prompt_usd: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens that the model reads."""
    completion_usd: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens that it writes, reasoning included."""
    cached_prompt_usd: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens that it reads from its cache; like others if not given."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The evaluation ends, with what it has measured, once answers have cost this much."""

    @model_validator(mode="after")
    def _priced_whole(self) -> EndpointConfig:
        if (self.prompt_usd is None) != (self.completion_usd is None):
            raise ValueError("give both endpoint.prompt_usd and endpoint.completion_usd, or neither")
        for key in ("cached_prompt_usd", "budget_usd"):
            if getattr(self, key) is not None and self.prompt_usd is None:
                raise ValueError(f"{key} needs prompt_usd and completion_usd")
        return self


class EvaluationConfig(Section):
    """What an EvalJob measures."""

    split: str = "eval"
    """Split of the task's evaluation samples."""
    samples: int | None = Field(default=None, gt=0)
    """Measure on at most this many samples."""
    samples_per_prompt: int = Field(default=1, gt=0)
    """Rollouts for each sample."""
    batch_size: int = Field(default=256, gt=0)
    """Rollouts generated together; stop requests are checked between batches."""


class TelemetryConfig(Section):
    """What is recorded, and where."""

    db_url: DatabaseUrl | None = None
    """SQLAlchemy URL of the database, such as sqlite:///./tenyson_telemetry.db; without a password (PGPASSWORD)."""
    sinks: Annotated[list[str] | None, AfterValidator(_added_or_given)] = None
    """Sinks by name. Default: console and jsonl, sql where db_url is set, wandb where wandb.project is set; `[+csv]` adds to them."""
    settings: dict[str, dict[str, Any]] = {}
    """Settings of single sinks, by sink name."""


class HubConfig(Section):
    """Where results are pushed on the Hugging Face Hub."""

    repo_id: str | None = None
    """Repository; nothing is pushed without one."""
    private: bool = True
    """Whether a new repository is private."""
    checkpoints: bool = False
    """Whether the newest checkpoint is pushed as well, so that another machine can resume from it."""
    token_env: VariableName = "HF_TOKEN"
    """NAME of the environment variable that holds the token."""


class WandbConfig(Section):
    """Weights & Biases."""

    project: str | None = None
    """Project; W&B is off without one."""
    entity: str | None = None
    """User or team."""
    group: str | None = None
    """Group, such as the pipeline's name."""
    tags: list[str] = []
    """Tags of the run."""
    mode: Literal["online", "offline"] = "online"
    """`offline` writes to disk only."""
    api_key_env: VariableName = "WANDB_API_KEY"
    """NAME of the environment variable that holds the key."""


class BackendConfig(Section):
    """Where the job runs."""

    name: str = "local"
    """Name of an installed backend."""
    settings: dict[str, Any] = {}
    """Settings of that backend; its own model checks them."""


class Config(Section):
    """A complete configuration."""

    run: RunConfig = RunConfig()
    model: ModelConfig
    task: TaskConfig = TaskConfig()
    training: TrainingConfig = TrainingConfig()
    generation: GenerationConfig = GenerationConfig()
    endpoint: EndpointConfig = EndpointConfig()
    rollouts: RolloutsConfig = RolloutsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    hub: HubConfig = HubConfig()
    wandb: WandbConfig = WandbConfig()
    backend: BackendConfig = BackendConfig()
    peft: dict[str, Any] | None = None
    """Arguments of peft.LoraConfig, verbatim; none means that all weights are trained."""
    trl: dict[str, Any] = {}
    """Arguments of the job's TRL configuration, such as trl.SFTConfig or trl.GRPOConfig, verbatim; they take
    precedence over `training` and `generation`. Those that would have no effect, or are not yours to give here
    (output_dir, seed, report_to ...), are refused with the key to use."""
    engine_args: dict[str, Any] = {}
    """Arguments of the engine, verbatim: vllm.LLM's, of transformers' generate, or further fields of requests to an endpoint."""
