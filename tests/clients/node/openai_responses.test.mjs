// openai-node on the Responses API.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { apiKey, baseURL, closed, collect, plan, words } from "./system.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const input = "Say hello please";
const create = (model, more) => client.responses.create({ model, input, ...more });
const deltas = (events, type) =>
  events.filter((event) => event.type === `response.${type}.delta`).map((event) => event.delta);

test("an answer is whole, with usage and a request id", async () => {
  const reply = await create("words-500");
  assert.equal(reply.output_text, words(500));
  assert.equal(reply.status, "completed");
  assert.equal(reply.usage.output_tokens, 500);
  assert.ok(reply._request_id);
});

test("a stream counts its events from 0 and adds up to the answer", async () => {
  const events = await collect(await create("slow-20x50", { stream: true }));
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    events.map((_, number) => number),
  );
  assert.equal(events[0].type, "response.created");
  assert.equal(deltas(events, "output_text").join(""), words(20));
  const last = events.at(-1);
  assert.equal(last.type, "response.completed");
  assert.equal(last.response.usage.output_tokens, 20);
  assert.equal(last.response.output[0].content[0].text, words(20));
});

test("the stream helper assembles text and reasoning apart", async () => {
  const stream = client.responses.stream({ model: "reasoning", input });
  const pieces = [];
  stream.on("response.output_text.delta", (event) => pieces.push(event.delta));
  const final = await stream.finalResponse();
  assert.equal(pieces.join(""), "Done thinking");
  assert.equal(final.output_text, "Done thinking");
  assert.deepEqual(
    final.output.map((item) => item.type),
    ["reasoning", "message"],
  );
  assert.equal(final.output[0].content[0].text, "Let me think.");
  assert.equal(final.usage.output_tokens_details.reasoning_tokens, 2);
});

for (const streamed of [false, true]) {
  const mode = streamed ? "streamed" : "whole";
  const reply = (request) =>
    streamed ? client.responses.stream(request).finalResponse() : client.responses.parse(request);

  test(`a function is called and its result goes back, ${mode}`, async () => {
    const parameters = z.object({ city: z.string() });
    const tools = [zodResponsesFunction({ name: "look_up", parameters })];
    const asked = [{ role: "user", content: input }];
    const first = await reply({ model: "tools", input: asked, tools });
    const [call] = first.output;
    assert.equal(call.type, "function_call");
    assert.deepEqual([call.name, call.parsed_arguments], ["look_up", { city: "text" }]);
    const output = `${call.parsed_arguments.city} is far`;
    const result = { type: "function_call_output", call_id: call.call_id, output };
    const { parsed_arguments: _, ...item } = call;
    const final = await reply({ model: "tools", input: [...asked, item, result], tools });
    assert.equal(final.output_text, "The tool said: text is far");
    const request = { model: "tools", input: [result], tools, previous_response_id: first.id };
    const followed = await reply(request);
    assert.equal(followed.output_text, "The tool said: text is far");
  });

  test(`several calls are assembled, custom ones too, ${mode}`, async () => {
    const tools = [
      zodResponsesFunction({ name: "weather", parameters: z.object({ city: z.string() }) }),
      { type: "custom", name: "shell" },
      zodResponsesFunction({ name: "news", parameters: z.object({ day: z.string() }) }),
    ];
    const { output } = await reply({ model: "tools-parallel", input, tools });
    assert.deepEqual(
      output.map((call) => [call.type, call.name, call.input ?? JSON.parse(call.arguments)]),
      [
        ["function_call", "weather", { city: "text" }],
        ["custom_tool_call", "shell", "some free text"],
        ["function_call", "news", { day: "text" }],
      ],
    );
  });

  test(`a loop of calls follows its responses, ${mode}`, async () => {
    const tools = [
      zodResponsesFunction({ name: "look", parameters: z.object({ at: z.string() }) }),
      { type: "custom", name: "shell" },
    ];
    const steps = [
      { say: "I look. ", calls: [["look", { at: "x" }], ["shell", "ls -l"]] },
      { say: "Again. ", calls: [["look", { at: "y" }]] },
      { say: "Done." },
    ];
    for (const model of ["plan", "plan-tasks"]) {
      const told = [];
      let request = { model, input: plan(...steps), tools };
      for (let response; told.at(-1) !== "Done."; ) {
        response = await reply(request);
        told.push(response.output_text);
        const calls = response.output.filter((item) => item.call_id);
        const results = calls.map(({ type, call_id }) => ({ type: `${type}_output`, call_id }));
        const more = results.map((result) => ({ ...result, output: "ok" }));
        request = { ...request, input: more, previous_response_id: response.id };
      }
      assert.deepEqual(told, ["I look. ", "Again. ", "Done."]);
    }
  });

  test(`a JSON schema gives the type that was asked for, ${mode}`, async () => {
    const format = zodTextFormat(z.object({ title: z.string(), count: z.number() }), "plan");
    const { output_parsed } = await reply({ model: "json", input, text: { format } });
    assert.deepEqual(output_parsed, { title: "text", count: 1.5 });
  });

  test(`what was cut is incomplete, ${mode}`, async () => {
    const cut = await reply({ model: "words-500", input, max_output_tokens: 16 });
    assert.equal(cut.status, "incomplete");
    assert.equal(cut.incomplete_details.reason, "max_output_tokens");
    assert.equal(cut.output_text, words(16));
  });

  const refusals = [
    ["nobody", {}, OpenAI.NotFoundError, { status: 404, code: "model_not_found" }],
    ["words-3", { background: true, store: false }, OpenAI.BadRequestError, { param: "background" }],
    ["status-400", {}, OpenAI.BadRequestError, { status: 400, param: "temperature" }],
    ["status-429", {}, OpenAI.RateLimitError, { status: 429, code: "upstream_rate_limited" }],
    ["status-500", {}, OpenAI.InternalServerError, { status: 502, code: "upstream_error" }],
  ];
  for (const [model, more, kind, expected] of refusals) {
    test(`${model} ${JSON.stringify(more)}, ${mode}, is an error of its kind`, async () => {
      await assert.rejects(create(model, { ...more, stream: streamed }), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.ok(error.requestID);
        for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value);
        return true;
      });
    });
  }
}

for (const model of ["cut-3", "silence-3", "error-chunk"]) {
  test(`${model}: a stream that breaks ends with response.failed after its text`, async () => {
    const events = await collect(await create(model, { stream: true }));
    assert.equal(deltas(events, "output_text").join(""), words(model === "error-chunk" ? 2 : 3));
    const last = events.at(-1);
    assert.equal(last.type, "response.failed");
    assert.equal(last.response.status, "failed");
    assert.ok(last.response.error.code && last.response.error.message);
    assert.equal((await client.responses.retrieve(last.response.id)).status, "failed");
  });
}

test("a response is found, followed and forgotten", async () => {
  const first = await create("words-3", { input: "one", instructions: "Shout." });
  const found = await client.responses.retrieve(first.id);
  assert.equal(found.output_text, first.output_text);
  const second = await create("echo-request", { input: "two", previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  const { messages } = JSON.parse(second.output_text);
  assert.deepEqual(
    messages.map((message) => [message.role, message.content]),
    [
      ["user", "one"],
      ["assistant", words(3)],
      ["user", "two"],
    ],
  );
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
  await assert.rejects(create("words-3", { previous_response_id: first.id }), (error) => {
    assert.equal(error.code, "previous_response_not_found");
    return error instanceof OpenAI.BadRequestError;
  });
});

test("a response in the background is left, resumed and found", async () => {
  const stream = await create("slow-20x50", { background: true, stream: true });
  const seen = [];
  for await (const event of stream) if (seen.push(event) === 6) break;
  assert.equal(seen[1].type, "response.queued");
  const { id } = seen[0].response;
  const rest = await client.responses.retrieve(id, { stream: true, starting_after: 5 });
  const events = [...seen, ...(await collect(rest))];
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    events.map((_, number) => number),
  );
  assert.equal(deltas(events, "output_text").join(""), words(20));
  assert.equal((await client.responses.retrieve(id)).output_text, words(20));
});

test("the stream helper takes up a response where it was left", async () => {
  const begun = client.responses.stream({ model: "slow-20x50", input, background: true });
  let id;
  for await (const event of begun) {
    id ??= event.response?.id;
    if (event.sequence_number === 7) break;
  }
  const rest = client.responses.stream({ response_id: id, starting_after: 7 });
  const numbers = (await collect(rest)).map((event) => event.sequence_number);
  assert.deepEqual(
    numbers,
    numbers.map((_, number) => number + 8),
  );
  assert.equal((await rest.finalResponse()).output_text, words(20));
});

test("a response in the background is polled until it has ended", async () => {
  let found = await create("slow-20x50", { background: true });
  assert.deepEqual([found.status, found.output], ["queued", []]);
  while (["queued", "in_progress"].includes(found.status))
    found = await client.responses.retrieve(found.id);
  assert.deepEqual([found.status, found.output_text], ["completed", words(20)]);
});

test("a response in the background is cancelled", async () => {
  const { id, status } = await create("slow-1001x20", { background: true });
  assert.equal(status, "queued");
  assert.equal((await client.responses.cancel(id)).status, "cancelled");
  assert.equal((await client.responses.retrieve(id)).status, "cancelled");
});

test("what was asked is listed in pages", async () => {
  const items = ["one", "two", "three"].map((content) => ({ role: "user", content }));
  const { id } = await create("words-3", { input: items });
  const listed = [];
  for await (const item of client.responses.inputItems.list(id, { limit: 2, order: "asc" }))
    listed.push(item.content[0].text);
  assert.deepEqual(listed, ["one", "two", "three"]);
});

test("what is not stored is not found", async () => {
  const reply = await create("words-3", { store: false });
  await assert.rejects(client.responses.retrieve(reply.id), OpenAI.NotFoundError);
});

test("aborting a stream closes the upstream's socket", { timeout: 60_000 }, async () => {
  const stream = await create("slow-1000x20", { stream: true });
  for await (const event of stream) if (event.type === "response.output_text.delta") break;
  stream.controller.abort();
  await closed("slow-1000x20", 1);
});
