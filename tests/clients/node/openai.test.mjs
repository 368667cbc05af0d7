// openai-node.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { apiKey, baseURL, callsOf, closed, collect, hello, words } from "./system.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const create = (model, more, options) =>
  client.chat.completions.create({ model, messages: hello, ...more }, options);
const text = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

const weather = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, day: { type: "string" } },
      required: ["city", "day"],
    },
  },
};
const news = { type: "function", function: { name: "news", parameters: { type: "object" } } };

test("models are listed, and found by ids with / and :", async () => {
  const ids = (await collect(client.models.list())).map((model) => model.id);
  assert.ok(ids.includes("words-3"));
  assert.equal((await client.models.retrieve("team/writer:v1")).id, "team/writer:v1");
});

test("an answer is whole, with usage and a request id", async () => {
  const reply = await create("words-500");
  assert.equal(reply.choices[0].message.content, words(500));
  assert.equal(reply.choices[0].finish_reason, "stop");
  assert.equal(reply.usage.completion_tokens, 500);
  assert.ok(reply._request_id);
});

test("a stream adds up to the answer and ends with usage", async () => {
  const options = { stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await create("slow-20x50", options));
  assert.equal(text(chunks), words(20));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 20);
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
});

test("the stream helper assembles text, reasoning apart", async () => {
  const stream = client.chat.completions.stream({ model: "reasoning", messages: hello });
  const pieces = [];
  stream.on("content", (delta) => pieces.push(delta));
  const final = await stream.finalChatCompletion();
  assert.equal(pieces.join(""), "Done thinking");
  assert.equal(final.choices[0].message.content, "Done thinking");
});

test("streamed calls of several tools are assembled", async () => {
  const tools = [weather, news];
  const stream = client.chat.completions.stream({ model: "tools-parallel", messages: hello, tools });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.deepEqual(
    message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    [
      ["weather", { city: "text", day: "text" }],
      ["news", {}],
    ],
  );
});

test("runTools calls the function and brings its result back", async () => {
  const asked = [];
  const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const tool = {
    type: "function",
    function: {
      name: "look_up",
      parameters: city,
      parse: JSON.parse,
      function: ({ city }) => {
        asked.push(city);
        return `${city} is far`;
      },
    },
  };
  for (const stream of [false, true]) {
    const runner = client.chat.completions.runTools({
      model: "tools",
      messages: hello,
      tools: [tool],
      stream,
    });
    assert.equal(await runner.finalContent(), "The tool said: text is far");
  }
  assert.deepEqual(asked, ["text", "text"]);
});

test("parse gives the type that was asked for", async () => {
  const format = zodResponseFormat(z.object({ title: z.string(), count: z.number() }), "plan");
  const request = { model: "json", messages: hello, response_format: format };
  const reply = await client.chat.completions.parse(request);
  assert.deepEqual(reply.choices[0].message.parsed, { title: "text", count: 1.5 });
});

for (const stream of [false, true]) {
  const mode = stream ? "streamed" : "whole";
  const refusals = [
    ["nobody", {}, OpenAI.NotFoundError, { status: 404, code: "model_not_found" }],
    ["words-3", { n: 2 }, OpenAI.BadRequestError, { status: 400, param: "n" }],
    ["status-400", {}, OpenAI.BadRequestError, { status: 400, param: "temperature" }],
    ["status-429", {}, OpenAI.RateLimitError, { status: 429, code: "upstream_rate_limited" }],
    ["status-500", {}, OpenAI.InternalServerError, { status: 502, code: "upstream_error" }],
  ];
  for (const [model, more, kind, expected] of refusals) {
    test(`${model} ${JSON.stringify(more)}, ${mode}, is an error of its kind`, async () => {
      await assert.rejects(create(model, { ...more, stream }), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.ok(error.requestID);
        for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value);
        return true;
      });
    });
  }
}

test("a wrong key is refused", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("a client that may retry waits as told and succeeds", async () => {
  const before = await callsOf("busy-2");
  const reply = await create("busy-2", {}, { maxRetries: 1 });
  assert.equal(reply.choices[0].message.content, words(3));
  assert.equal((await callsOf("busy-2")) - before, 3);
});

for (const model of ["cut-3", "silence-3"]) {
  test(`${model}: a stream that breaks throws after the text it had`, async () => {
    let got = "";
    await assert.rejects(async () => {
      for await (const chunk of await create(model, { stream: true })) got += text([chunk]);
    }, OpenAI.APIError);
    assert.equal(got, words(3));
  });
}

test("aborting a stream closes the upstream's socket", { timeout: 60_000 }, async () => {
  const stream = await create("slow-1000x20", { stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  await closed("slow-1000x20", 1);
});

test("fifty streams at once each get their own answer", async () => {
  const ask = async (number) => {
    const messages = [{ role: "user", content: `I am ${number}` }];
    const chunks = await collect(await create("repeater", { messages, stream: true }));
    assert.equal(text(chunks).trim(), `I am ${number}`);
  };
  await Promise.all(Array.from({ length: 50 }, (_, number) => ask(number)));
});
