// node --test bot.test.js, with a checkout of smolmix-web in $SMOLMIX_CHECKOUT.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { disconnectMixTunnel, setupMixTunnel, startLocalnet } from "smolmix-web/node";
import { greeting } from "./bot.js";

let network;

before(async () => {
  network = await startLocalnet();
  await setupMixTunnel(network.options);
});

after(async () => {
  await disconnectMixTunnel();
  await network?.stop();
});

test("it reads a page", async () => {
  assert.equal(await greeting("https://origin.test/json"), "origin");
});

test("it says what is wrong", async () => {
  await assert.rejects(greeting("https://origin.test/status/503"), /503/);
});
