"""An agent as somebody would write it against the openai package: it knows nothing of Tenyson."""

import json
import sys

import openai

SECRETS = {"a": "7", "b": "3", "c": "9", "d": "4"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {argument: {"type": "string"}}}}}
    for name, argument in (("secret", "letter"), ("check", "number"))
]  # fmt: skip


CALLS = {
    "secret": lambda letter="": SECRETS.get(letter, "none"),
    "check": lambda number="": "yes" if number in SECRETS.values() else "no",
}


def main(question, client, most=3):
    messages, looked = [{"role": "user", "content": question}], []
    for _ in range(most):
        answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
        said = answer.choices[0].message
        messages.append(said)
        if not said.tool_calls:
            return {"answer": said.content, "looked": looked}
        for call in said.tool_calls:
            try:
                result = CALLS[call.function.name](**json.loads(call.function.arguments))
            except (KeyError, TypeError) as error:
                result = f"wrong: {error}"
            looked.append(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return {"answer": None, "looked": looked}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin)["prompt"][0]["content"], openai.OpenAI())))
