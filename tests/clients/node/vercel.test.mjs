// Vercel's AI SDK, whose schemas refuse what they do not expect.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { apiKey, baseURL, closed, collect, words } from "./system.mjs";

const compatible = createOpenAICompatible({
  name: "trunkline",
  baseURL,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const official = createOpenAI({ baseURL, apiKey });
const open = createOpenResponses({ name: "trunkline", url: `${baseURL}/responses`, apiKey });
const providers = {
  compatible: (id) => compatible(id),
  openai: (id) => official.chat(id),
  responses: (id) => official.responses(id),
  open: (id) => open(id),
};
// A model of its own for each, so that one's aborted stream is not taken for another's.
const endless = {
  compatible: "slow-1002x20",
  openai: "slow-1001x20",
  responses: "slow-1003x20",
  open: "slow-1004x20",
};
const prompt = "Say hello please";

const tools = {
  look_up: tool({
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city} is far`,
  }),
};

for (const [name, provider] of Object.entries(providers)) {
  const ask = (id, more) => generateText({ model: provider(id), prompt, maxRetries: 0, ...more });
  const stream = (id, more) =>
    streamText({ model: provider(id), prompt, maxRetries: 0, onError: () => {}, ...more });

  test(`${name}: text, whole`, async () => {
    const reply = await ask("words-500");
    assert.equal(reply.text, words(500));
    assert.equal(reply.finishReason, "stop");
    assert.equal(reply.usage.outputTokens, 500);
  });

  test(`${name}: text, streamed`, async () => {
    const reply = stream("slow-20x50");
    assert.equal((await collect(reply.textStream)).join(""), words(20));
    assert.equal(await reply.finishReason, "stop");
    assert.equal((await reply.usage).outputTokens, 20);
  });

  test(`${name}: a tool is called and its result goes back, whole`, async () => {
    const reply = await ask("tools", { tools, stopWhen: stepCountIs(3) });
    assert.match(reply.text, /The tool said: .*text is far/);
    assert.equal(reply.steps.length, 2);
  });

  test(`${name}: a tool is called and its result goes back, streamed`, async () => {
    const reply = stream("tools", { tools, stopWhen: stepCountIs(3) });
    const parts = await collect(reply.fullStream);
    assert.deepEqual(
      parts.filter((part) => part.type === "error"),
      [],
    );
    const [call] = parts.filter((part) => part.type === "tool-call");
    assert.deepEqual([call.toolName, call.input], ["look_up", { city: "text" }]);
    assert.match(await reply.text, /The tool said: .*text is far/);
  });

  test(`${name}: structured output`, async () => {
    const output = Output.object({ schema: z.object({ title: z.string(), ok: z.boolean() }) });
    assert.deepEqual((await ask("json", { output })).output, { title: "text", ok: true });
    assert.deepEqual(await stream("json", { output }).output, { title: "text", ok: true });
  });

  for (const [id, status] of [
    ["nobody", 404],
    ["status-400", 400],
    ["status-429", 429],
    ["status-500", 502],
  ]) {
    test(`${name}: ${id} is an error with its status`, async () => {
      const isIt = (error) => APICallError.isInstance(error) && error.statusCode === status;
      await assert.rejects(ask(id), isIt);
      const parts = await collect(stream(id).fullStream);
      assert.ok(isIt(parts.find((part) => part.type === "error")?.error));
    });
  }

  test(`${name}: a stream that breaks gives its text, then an error`, async () => {
    const parts = await collect(stream("cut-3").fullStream);
    const texts = parts.filter((part) => part.type === "text-delta").map((part) => part.text);
    assert.equal(texts.join(""), words(3));
    assert.ok(parts.some((part) => part.type === "error"));
  });

  test(`${name}: aborting closes the upstream's socket`, { timeout: 60_000 }, async () => {
    const controller = new AbortController();
    const id = endless[name];
    const reply = stream(id, { abortSignal: controller.signal });
    for await (const part of reply.fullStream) if (part.type === "text-delta") break;
    controller.abort();
    await closed(id, 1);
  });
}

test("compatible: reasoning is told apart from text, in both modes", async () => {
  const whole = await generateText({ model: compatible("reasoning"), prompt });
  assert.deepEqual([whole.reasoningText, whole.text], ["Let me think.", "Done thinking"]);
  assert.equal(whole.usage.inputTokenDetails.cacheReadTokens, 1);
  assert.equal(whole.usage.outputTokenDetails.reasoningTokens, 2);
  const streamed = streamText({ model: compatible("reasoning"), prompt });
  assert.equal(await streamed.reasoningText, "Let me think.");
  assert.equal(await streamed.text, "Done thinking");
});

test("openai: what it allows to retry succeeds", async () => {
  const reply = await generateText({ model: official.chat("busy-2"), prompt, maxRetries: 2 });
  assert.equal(reply.text, words(3));
});

test("responses: reasoning is told apart from text, in both modes", async () => {
  const whole = await generateText({ model: official.responses("reasoning"), prompt });
  assert.equal(whole.text, "Done thinking");
  assert.equal(whole.usage.inputTokenDetails.cacheReadTokens, 1);
  assert.equal(whole.usage.outputTokenDetails.reasoningTokens, 2);
  const streamed = streamText({ model: official.responses("reasoning"), prompt });
  assert.equal(await streamed.text, "Done thinking");
});

test("responses: a stored response is followed by its id", async () => {
  const first = await generateText({ model: official.responses("words-3"), prompt: "one" });
  const previousResponseId = first.providerMetadata.openai.responseId;
  const { text } = await generateText({
    model: official.responses("echo-request"),
    prompt: "two",
    providerOptions: { openai: { previousResponseId } },
  });
  assert.deepEqual(
    JSON.parse(text).messages.map((message) => message.role),
    ["user", "assistant", "user"],
  );
});
