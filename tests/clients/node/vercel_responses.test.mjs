// Vercel's AI SDK on the Responses API: what only that has, and loops of several steps.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { apiKey, baseURL, collect, plan, words } from "./system.mjs";

const official = createOpenAI({ baseURL, apiKey });
const open = createOpenResponses({ name: "trunkline", url: `${baseURL}/responses`, apiKey });
const providers = { official: (id) => official.responses(id), open: (id) => open(id) };
// Without it the official provider sends an item_reference for each item that was stored.
const whole = { openai: { store: false } };
const prompt = "Say hello please";
const looked = [];
const tools = {
  look: tool({
    inputSchema: z.object({ at: z.string() }),
    execute: async ({ at }) => {
      looked.push(at);
      return { found: `${at} is far` };
    },
  }),
  fail: tool({
    inputSchema: z.object({}),
    execute: async () => {
      throw new Error("no such thing");
    },
  }),
};

for (const [name, provider] of Object.entries(providers)) {
  // Both modes give the same: each as what `generateText` gives.
  const modes = {
    whole: (id, more) =>
      generateText({ model: provider(id), prompt, maxRetries: 0, providerOptions: whole, ...more }),
    streamed: async (id, more) => {
      const request = { model: provider(id), prompt, maxRetries: 0, providerOptions: whole, ...more };
      const reply = streamText({ ...request, onError: () => {} });
      const parts = await collect(reply.fullStream);
      const broken = parts.find((part) => part.type === "error");
      if (broken) throw broken.error;
      const members = ["text", "steps", "toolCalls", "finishReason", "usage", "reasoningText"];
      const values = await Promise.all(members.map(async (member) => [member, await reply[member]]));
      return { ...Object.fromEntries(values), response: await reply.response };
    },
  };
  for (const [mode, ask] of Object.entries(modes)) {
    test(`${name}, ${mode}: a loop of three steps, with text between them`, async () => {
      looked.length = 0;
      const steps = [
        { say: "I look. ", calls: [["look", { at: "north" }]] },
        { say: "And there. ", calls: [["look", { at: "south" }], ["fail", {}]] },
        { say: "Both are far." },
      ];
      const reply = await ask("plan", { prompt: plan(...steps), tools, stopWhen: stepCountIs(5) });
      assert.deepEqual(looked, ["north", "south"]);
      assert.equal(reply.text, "Both are far.");
      assert.deepEqual(
        reply.steps.map((step) => [step.text, step.toolCalls.length, step.finishReason]),
        [
          ["I look. ", 1, "tool-calls"],
          ["And there. ", 2, "tool-calls"],
          ["Both are far.", 0, "stop"],
        ],
      );
      const outputs = reply.steps.flatMap((step) => step.toolResults.map((each) => each.output));
      assert.deepEqual(outputs, [{ found: "north is far" }, { found: "south is far" }]);
    });

    test(`${name}, ${mode}: what an agent does with its own tools is no call of the caller's`, async () => {
      const steps = [{ say: "I plan. ", calls: [["read_tasks", {}]] }, { say: "Done." }];
      const reply = await ask("plan-tasks", { prompt: plan(...steps) });
      assert.equal(reply.text, "I plan. Done.");
      assert.deepEqual(
        reply.toolCalls.filter((call) => !call.providerExecuted),
        [],
      );
      assert.equal(reply.finishReason, "stop");
    });

    test(`${name}, ${mode}: an object, whose model was told its schema`, async () => {
      const schema = z.object({ title: z.string(), parts: z.array(z.object({ n: z.number() })) });
      const reply = await ask("json", { output: Output.object({ schema }) });
      assert.deepEqual(JSON.parse(reply.text), { title: "text", parts: [] });
    });

    test(`${name}, ${mode}: what was cut says so`, async () => {
      const reply = await ask("words-500", { maxOutputTokens: 16 });
      assert.deepEqual([reply.text, reply.finishReason], [words(16), "length"]);
      assert.equal((await ask("filter")).finishReason, "content-filter");
    });

    test(`${name}, ${mode}: a conversation is sent whole`, async () => {
      const first = await ask("plan", {
        prompt: plan({ say: "I look. ", calls: [["look", { at: "x" }]] }, { say: "Far." }),
        tools,
        stopWhen: stepCountIs(3),
      });
      const said = first.steps.flatMap((step) => step.response.messages);
      const [asked, again] = [prompt, "And?"].map((content) => ({ role: "user", content }));
      const request = { prompt: undefined, messages: [asked, ...said, again], tools };
      const sent = JSON.parse((await ask("echo-request", request)).text).messages;
      assert.deepEqual(
        sent.map((message) => [message.role, message.content]),
        [
          ["user", prompt],
          ["assistant", "I look. "],
          ["tool", '{"found":"x is far"}'],
          ["assistant", "Far."],
          ["user", "And?"],
        ],
      );
    });

    test(`${name}, ${mode}: an image is seen`, async () => {
      const image = { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) };
      const content = [{ type: "text", text: "What is it?" }, image];
      const request = { prompt: undefined, messages: [{ role: "user", content }] };
      const [message] = JSON.parse((await ask("echo-request", request)).text).messages;
      assert.equal(message.content[1].image_url.url, "data:image/png;base64,AQID");
    });

    test(`${name}, ${mode}: effort and sampling reach the model`, async () => {
      const sampling = { temperature: 0.5, topP: 0.9, maxOutputTokens: 100 };
      const sampled = JSON.parse((await ask("echo-request", sampling)).text);
      assert.equal(sampled.max_completion_tokens ?? sampled.max_tokens, 100);
      assert.deepEqual([sampled.temperature, sampled.top_p], [0.5, 0.9]);
      const providerOptions = { openai: { store: false, forceReasoning: true } };
      const reasoned = await ask("echo-request", { reasoning: "low", providerOptions });
      assert.equal(JSON.parse(reasoned.text).reasoning_effort, "low");
    });
  }
}

for (const streamed of [false, true]) {
  test(`open: reasoning is told, streamed: ${streamed}`, async () => {
    const request = { model: open("reasoning"), prompt };
    const reply = streamed ? streamText(request) : await generateText(request);
    assert.equal(await reply.reasoningText, "Let me think.");
    assert.equal(await reply.text, "Done thinking");
  });

  test(`official: a response is followed through a loop, streamed: ${streamed}`, async () => {
    const ask = (more) => {
      const request = { model: official.responses("plan"), tools, maxRetries: 0, ...more };
      return streamed ? streamText(request) : generateText(request);
    };
    const steps = [{ calls: [["look", { at: "x" }]] }, { say: "Far." }];
    const first = await ask({ prompt: plan(...steps), stopWhen: stepCountIs(3) });
    assert.equal(await first.text, "Far.");
    const { responseId } = (await first.providerMetadata).openai;
    const second = await ask({
      prompt: "And now?",
      providerOptions: { openai: { previousResponseId: responseId } },
    });
    assert.equal(await second.text, "And now?");
  });

  test(`official: a conversation is named, streamed: ${streamed}`, async () => {
    const conversation = randomUUID();
    const ask = (id, text) => {
      const providerOptions = { openai: { conversation } };
      const request = { model: official.responses(id), prompt: text, providerOptions };
      return streamed ? streamText(request) : generateText(request);
    };
    assert.equal(await (await ask("words-3", "one")).text, words(3));
    const { messages } = JSON.parse(await (await ask("echo-request", "two")).text);
    assert.deepEqual(
      messages.map((message) => message.content),
      ["one", words(3), "two"],
    );
  });
}

test("official: what may be said with a request is taken", async () => {
  const openai = {
    forceReasoning: true,
    include: ["reasoning.encrypted_content", "file_search_call.results"],
    instructions: "Be brief.",
    logprobs: 2,
    maxToolCalls: 3,
    metadata: { a: "b" },
    parallelToolCalls: true,
    promptCacheKey: "key",
    promptCacheRetention: "24h",
    reasoningContext: "all_turns",
    reasoningSummary: "auto",
    safetyIdentifier: "someone",
    textVerbosity: "low",
    truncation: "disabled",
    user: "me",
  };
  const request = { model: official.responses("echo-request"), prompt };
  const { text } = await generateText({ ...request, providerOptions: { openai } });
  const sent = JSON.parse(text);
  assert.deepEqual(sent.messages[0], { role: "system", content: "Be brief." });
  assert.deepEqual([sent.verbosity, sent.prompt_cache_key, sent.user], ["low", "key", "me"]);
});


test("official: a stored loop refers to its items by their ids", async () => {
  const steps = [{ say: "I look. ", calls: [["look", { at: "x" }]] }, { say: "Far." }];
  const request = { model: official.responses("plan"), prompt: plan(...steps), tools };
  const reply = await generateText({ ...request, stopWhen: stepCountIs(3), maxRetries: 0 });
  assert.equal(reply.text, "Far.");
});
