/**
 * A seeded life of an archive whose store is far away: crashes at any step of upload and publication, a host that is lost
 * with its state, another one that takes over while the first goes on. What was published is there after all of that.
 */
import type { Snapshot } from "../../src/storage/cas/snapshot.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { ArchiveClient } from "./archive-client.ts";
import { ArchiveWorld, CLAIM_CHECK_MS, STATE, type Tally } from "./archive-world.ts";
import { SimulatedStore } from "./simulated-store.ts";

const LIVES = 5;
const NOTHING = { reads: false, writes: false };

interface Taken {
  readonly volumes: Map<string, Uint32Array>;
  readonly snapshots: Map<string, readonly Snapshot[]>;
}

export class RemoteRun {
  readonly world: ArchiveWorld;
  readonly client: ArchiveClient;
  readonly store: SimulatedStore;
  #hosts = 1;

  constructor(seed: number, tally: Tally) {
    this.world = new ArchiveWorld(seededRandom(seed), tally);
    this.store = new SimulatedStore(this.world.random, this.world.loop, tally);
    this.world.remote = this.store;
    this.client = new ArchiveClient(this.world);
    this.store.onLastCall = () => this.#cutPower();
  }

  /** The process ends here, wherever it is. */
  #cutPower(): void {
    this.world.disk.losePowerAfter(0);
    this.world.disk.list("/").catch(() => {});
  }

  /** Lets the process end at a call of the store or of the disk that is still to come. */
  #crashSoon(): void {
    const { random, disk } = this.world;
    if (random.chance(0.7)) this.store.callsLeft = random.below(40);
    else disk.losePowerAfter(random.below(120));
  }

  #crashNoMore(): void {
    this.store.callsLeft = Number.POSITIVE_INFINITY;
    this.world.disk.losePowerAfter(Number.POSITIVE_INFINITY);
    this.store.faultChance = 0;
  }

  async #die(power: boolean): Promise<void> {
    await this.world.die(power);
    this.#crashNoMore();
    await this.client.settle();
  }

  /** Does `work` until it succeeds: crashes and faults on the way are what may keep it from that. */
  async #insist(what: string, work: () => Promise<unknown>): Promise<void> {
    const { world } = this;
    const { disk, random } = world;
    for (let attempt = 0; ; attempt++) {
      if (attempt < 3 && random.chance(0.3)) this.#crashSoon();
      if (attempt < 3 && random.chance(0.2)) this.store.faultChance = 0.1;
      const mayFail = this.store.faultChance > 0;
      try {
        await work();
        const isOff = disk.isOff;
        this.#crashNoMore();
        if (!isOff) return;
      } catch (error) {
        if (!disk.isOff && !mayFail) throw error;
        world.count(`${what} ended by a crash or fault`);
      }
      await this.#die(random.chance(0.5));
    }
  }

  async #open(from: "state" | "store"): Promise<void> {
    const { client, world } = this;
    client.allowed = NOTHING;
    await this.#insist("starts", () => world.open());
    await client.snapshots.verifyRecovered(from === "store" || world.random.chance(0.2));
    await client.verifyRecovered(from);
    // The models know the present as their beginning: it has to be in the store before the state may be lost.
    await world.loop.until("a checkpoint", world.archive!.checkpoint());
    for (const model of client.models.values()) model.makePublished(model.position);
  }

  /** A directory for the state of a host that never was there. */
  async #newHost(): Promise<string> {
    const { disk, loop } = this.world;
    const directory = `${STATE}${++this.#hosts}`;
    disk.makeDirectory(directory);
    await loop.until("making a directory", disk.syncDirectory("/"));
    return directory;
  }

  /** Clients work for a while; with `crash` the process may end anywhere. */
  async #work(crash: boolean): Promise<void> {
    const { client, world } = this;
    const { loop, random, disk } = world;
    const isFaulty = random.chance(0.4);
    if (isFaulty) {
      client.allowed = { reads: true, writes: true };
      this.store.faultChance = random.pick([0.02, 0.2]);
    }
    const steps = 10 + random.below(40);
    for (let step = 0; step < steps && !disk.isOff; step++) {
      if (crash && step === steps - 12) this.#crashSoon();
      client.act();
      if (random.chance(0.15)) client.snapshots.act(random.pick(world.settings));
      if (random.chance(0.7)) await loop.pass(random.below(20));
      if (client.pendingCount > 20) await client.settle();
      client.check();
      if (random.chance(0.02)) await loop.pause(400);
    }
    this.store.faultChance = 0;
  }

  /** The same host goes on, or another one that has the store and nothing else. */
  async #goOn(state: "kept" | "lost"): Promise<void> {
    const { world } = this;
    if (state === "lost") {
      world.stateDirectory = await this.#newHost();
      world.count("hosts lost");
      await this.#insist("recoveries", () => world.loop.until("a recovery", world.recoverInto(world.stateDirectory)));
      world.disk.restart();
    }
    await this.#open(state === "lost" ? "store" : "state");
  }

  /** Another host takes the store over and serves it while this one goes on, which must then stop by itself. */
  async #takeOver(): Promise<void> {
    const { client, world } = this;
    const { loop, random } = world;
    const old = world.stateDirectory;
    const taker = new ArchiveWorld(random, world.tally, world);
    taker.stateDirectory = await this.#newHost();
    client.allowed = { reads: false, writes: true };
    const taking = world.recoverInto(taker.stateDirectory).then(() => taker.begin());
    try {
      await this.#actUntil(taking);
      await loop.until("a takeover", taking);
      const taken = await this.#everythingOf(taker);
      await this.#actUntil(new Promise<void>((resolve) => void loop.after(3 * CLAIM_CHECK_MS, resolve)));
      await client.settle();
      this.#expectStopped();
      this.#compare(taken);
      await taker.close();
    } finally {
      taker.free();
    }
    await this.#die(random.chance(0.5));
    const refusal = await world.open(old).then(
      () => "it was opened",
      (error: Error) => error.message,
    );
    if (!/was taken over by/.test(refusal)) throw new Error(`the host that was overtaken was not refused: ${refusal}`);
    await this.#die(false);
    world.stateDirectory = taker.stateDirectory;
    world.count("takeovers");
    await this.#open("store");
  }

  /** Clients ask for this and that, most of it to be published, until something has ended. */
  async #actUntil(work: Promise<void>): Promise<void> {
    const { client, world } = this;
    const { loop, random } = world;
    const progress = { isDone: false };
    const end = (): void => void (progress.isDone = true);
    work.then(end, end);
    while (!progress.isDone) {
      client.act();
      if (random.chance(0.3)) client.snapshots.act(random.pick(world.settings));
      await loop.pass(1 + random.below(8));
      if (client.pendingCount > 20) await client.settle();
    }
  }

  /** What another host that has just begun has of the store. */
  async #everythingOf(taker: ArchiveWorld): Promise<Taken> {
    const archive = taker.archive!;
    const taken: Taken = { volumes: new Map(), snapshots: new Map() };
    for (const setting of this.world.settings) {
      if (!archive.volumes.includes(setting.name)) continue;
      const disk = await taker.loop.until("opening a root", archive.openRoot(setting.name));
      taken.volumes.set(setting.name, await taker.readAll(disk, setting.blockBytes));
      taken.snapshots.set(setting.name, archive.snapshots(setting.name));
    }
    return taken;
  }

  /** Whatever was answered as published, before or after the takeover, the other host has. */
  #compare({ volumes, snapshots }: Taken): void {
    for (const { name } of this.world.settings) {
      const found = volumes.get(name);
      if (found === undefined) throw new Error(`${name} was made, and the host that took over does not have it`);
      const model = this.client.models.get(name)!;
      if (found.length < model.sectorCount) throw new Error(`${name} has grown, and the other host does not have that`);
      if (model.publishedPositionOf(found) !== undefined) continue;
      throw new Error(
        `${name} was published up to ${model.published}, and the host that took over does not have that; ` +
          model.differences(found),
      );
    }
    this.client.snapshots.expectAll((volume) => snapshots.get(volume) ?? []);
  }

  #expectStopped(): void {
    const { world } = this;
    for (const setting of world.settings) {
      const { failure } = world.volume(setting);
      if (/was taken over by/.test(failure ?? "")) continue;
      throw new Error(`${setting.name} was not stopped by the takeover: ${failure}`);
    }
  }

  async run(): Promise<void> {
    const { client, world } = this;
    const { random } = world;
    await world.prepare();
    await this.#open("state");
    for (let life = 0; life < LIVES; life++) {
      const end = random.pick(["close", "crash", "crash", "lost", "lost", "taken", "taken"] as const);
      client.allowed = NOTHING;
      await this.#work(end === "crash" || end === "lost");
      if (end === "taken") {
        await client.settle();
        await this.#takeOver();
        continue;
      }
      if (end === "close") await this.#close();
      else await this.#die(random.chance(0.5));
      client.check();
      await this.#goOn(end === "lost" ? "lost" : "kept");
    }
    client.allowed = NOTHING;
    await this.#close();
  }

  async #close(): Promise<void> {
    const { client, world } = this;
    await client.settle();
    await world.close();
    world.disk.restart();
    world.count("orderly ends");
    for (const model of client.models.values()) model.makePublished(model.position);
  }

  #hasPublished(): boolean {
    return [...this.client.models.values()].some(({ published }) => published > 0);
  }

  /**
   * A short life in which the process ends at a call of the store, and its state with it; then a recovery: false where
   * there are not so many calls.
   */
  async crashAtCall(call: number): Promise<boolean> {
    const { client, world } = this;
    const { loop, random } = world;
    await world.prepare();
    this.store.callsLeft = call;
    const work = async (): Promise<void> => {
      await world.open();
      for (let step = 0; step < 24; step++) {
        client.act();
        if (step % 6 === 5) client.snapshots.act(random.pick(world.settings));
        if (step % 8 === 7) await loop.until("a checkpoint", world.archive!.checkpoint());
        else await loop.pass(random.below(20));
      }
      await client.settle();
      await world.close();
    };
    const ended = await work().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!world.disk.isOff) {
      if (ended !== undefined) throw ended;
      return false;
    }
    await this.#die(true);
    world.stateDirectory = await this.#newHost();
    const recovered = await world.loop.until("a recovery", world.recoverInto(world.stateDirectory)).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (recovered !== undefined) {
      // Nobody had begun to write it yet.
      if (!/there is nothing to recover/.test(recovered) || this.#hasPublished()) throw new Error(recovered);
    }
    world.disk.restart();
    await world.open();
    await client.snapshots.verifyRecovered(true);
    await client.verifyRecovered("store");
    await world.close();
    return true;
  }
}

/** Runs the life of one seed. Throws where something does not hold. */
export async function runRemote(seed: number, tally: Tally): Promise<void> {
  const run = new RemoteRun(seed, tally);
  await run.world.running(() => run.run());
}
