// Where the system under test is, and what its fake upstream says; test_node.py starts both.

export const baseURL = process.env.BASE_URL;
export const apiKey = process.env.API_KEY;
const upstream = new URL("/", process.env.UPSTREAM_URL);

export const hello = [{ role: "user", content: "Say hello please" }];

/** The text of `count` scripted words. */
export const words = (count) => Array.from({ length: count }, (_, n) => `w${n} `).join("");

/** A prompt that tells the model `plan` what to say and call, step for step. */
export const plan = (...steps) => `plan: ${JSON.stringify(steps)}`;

const ask = async (path) => (await fetch(new URL(path, upstream))).json();

/** How often `model` was asked for since the start. */
export const callsOf = async (model) =>
  (await ask("/_requests")).filter((request) => request.model === model).length;

/** Resolves once the gateway has closed as many of `model`'s replies before their end. */
export async function closed(model, count) {
  for (;;) {
    const replies = (await ask("/_closed")).filter((reply) => reply.model === model);
    if (replies.length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}
