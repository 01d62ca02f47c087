"""What is learnt: the vocabulary of a task. Plain Python; nothing here imports torch."""

from tenyson.core.finding import Finding
from tenyson.tasks.agent import AgentCommand, Endpoint
from tenyson.tasks.environment import Environment, Observation
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.preference import PreferenceSample
from tenyson.tasks.preset import Preset, PresetStep
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.tools.error import ToolError
from tenyson.tasks.tools.tool import Tool, tool

__all__ = [
    "AgentCommand",
    "Endpoint",
    "Environment",
    "Finding",
    "Message",
    "Metric",
    "Observation",
    "PreferenceSample",
    "Preset",
    "PresetStep",
    "Reward",
    "Rollout",
    "Sample",
    "TaskPlugin",
    "Tool",
    "ToolError",
    "tool",
]
