/** A seeded life of an archive: clients, crashes and faults, and what has to hold after each of them. */
import { EIO, ENOSPC } from "../../ffi/libc.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { ArchiveClient } from "./archive-client.ts";
import { ArchiveWorld, BLOBS, STATE, type Tally } from "./archive-world.ts";
import { damage, damageJournal, lookAtDamaged } from "./archive-damage.ts";
import type { DiskCall } from "./simulated-disk.ts";

const LIVES = 4;
/** Longest that a sync takes, with the one that it may have to wait for, of a few files and a directory each. */
const SYNC_MOST_MS = 200;

/** What goes wrong with the disk during a life, besides its end. */
interface Fault {
  readonly name: string;
  readonly calls: readonly DiskCall[];
  readonly errno: number;
}

const faults: readonly Fault[] = [
  { name: "failed syncs", calls: ["sync"], errno: EIO },
  { name: "failed writes", calls: ["write"], errno: EIO },
  { name: "failed reads", calls: ["read"], errno: EIO },
  { name: "failed calls", calls: ["create", "open", "list", "name", "write", "read", "sync"], errno: EIO },
  { name: "refused for want of space", calls: ["create", "write"], errno: ENOSPC },
];

/** What the tally calls them. */
export const faultNames: readonly string[] = [...faults.map(({ name }) => name), "disks that fill up"];

export class ArchiveRun {
  readonly world: ArchiveWorld;
  readonly client: ArchiveClient;
  /** A sync failed since the process began: what was not durable may be lost, however the process ends. */
  #syncFailed = false;
  /** Something that was accepted may be lost: power was cut, or a sync has failed, and it was not durable. */
  #mayLose = false;

  constructor(seed: number, tally: Tally) {
    this.world = new ArchiveWorld(seededRandom(seed), tally);
    this.client = new ArchiveClient(this.world);
  }

  /** Opens the archive, whatever keeps it from that: crashes on the way, and faults that pass. */
  async recover(isLast = false, isHard = true): Promise<void> {
    const { client, world } = this;
    const { disk, random } = world;
    for (let attempt = 0; ; attempt++) {
      if (isHard && attempt < 3 && random.chance(0.2)) disk.losePowerAfter(random.below(150));
      if (isHard && attempt < 3 && random.chance(0.1)) this.#beginFault();
      try {
        await world.open();
        disk.losePowerAfter(Number.POSITIVE_INFINITY);
        this.#endFault();
        if (!disk.isOff) break;
      } catch (error) {
        const isExpected = disk.isOff || disk.fault !== undefined || disk.roomBytes < Number.POSITIVE_INFINITY;
        this.#endFault();
        if (!isExpected) throw error;
        disk.losePowerAfter(Number.POSITIVE_INFINITY);
        world.count(disk.isOff ? "crashes during recovery" : "recoveries that a fault has ended");
      }
      await this.#die(random.chance(0.7));
    }
    if (!this.#mayLose) for (const model of client.models.values()) model.makeDurable(model.position);
    this.#mayLose = false;
    await client.snapshots.verifyRecovered(isLast || random.chance(0.3));
    await client.verifyRecovered();
  }

  /** One process's life: it works, and ends in one way or another. */
  async live(): Promise<void> {
    const { client, world } = this;
    const { disk, loop, random } = world;
    const end = random.pick(["close", "kill", "power", "power later"]);
    const steps = 10 + random.below(50);
    const faultAt = random.chance(0.35) ? random.below(steps) : -1;
    for (let step = 0; step < steps && !disk.isOff; step++) {
      if (step === faultAt) this.#beginFault();
      if (end === "power later" && step === steps - 15) disk.losePowerAfter(random.below(200));
      client.act();
      if (random.chance(0.6)) await loop.pass(random.below(12));
      if (client.pendingCount > 20) await client.settle();
      client.check();
      if (random.chance(0.05)) await this.#look();
      if (random.chance(0.03)) await loop.pause(400);
      if (random.chance(0.02)) this.#endFault();
    }
    const isClosed = end === "close" && !disk.isOff && (await this.#close());
    if (!isClosed) await this.#die(end !== "kill");
    if (!isClosed && !client.allowed.writes) this.#expectIntervals();
    client.check();
    this.#endFault();
  }

  /** With a duration for `sync`, power loss loses at most what was written within it. */
  #expectIntervals(): void {
    const { client, world } = this;
    for (const setting of world.settings) {
      if (setting.sync.kind !== "interval") continue;
      const model = client.model(setting);
      model.makeDurable(model.positionAt(world.disk.diedMs - setting.sync.intervalMs - SYNC_MOST_MS));
    }
  }

  /** Looks at snapshots, where nothing keeps it from that. */
  async #look(): Promise<void> {
    const { client, world } = this;
    if (client.allowed.reads) return;
    try {
      await client.snapshots.look();
    } catch (error) {
      if (!world.disk.isOff) throw error;
    }
  }

  /** False: it did not work out, as it may with a fault. */
  async #close(): Promise<boolean> {
    const { client, world } = this;
    await client.settle();
    try {
      await world.close();
    } catch (error) {
      if (!client.allowed.writes && !client.allowed.reads) throw error;
      world.count("closings that failed");
      return false;
    }
    world.disk.restart();
    world.count("orderly ends");
    this.#syncFailed = false;
    for (const model of client.models.values()) model.makeDurable(model.position);
    return true;
  }

  async #die(power: boolean): Promise<void> {
    await this.world.die(power);
    await this.client.settle();
    this.#mayLose ||= power || this.#syncFailed;
    this.#syncFailed = false;
  }

  /** Closes the archive, damages it, looks at what it then serves, and mends it. */
  async #damageClosed(): Promise<void> {
    const { client, world } = this;
    await this.recover(true);
    await world.close();
    world.disk.restart();
    const damaged = damage(world);
    if (damaged === undefined) return;
    await lookAtDamaged(client, damaged);
    await world.die(false);
    damaged.mend();
  }

  /** Kills a process that has written, damages its journal, and looks at what comes of that. */
  async #damageJournal(): Promise<void> {
    const { client, world } = this;
    await this.recover();
    for (let step = 5 + world.random.below(30); step > 0; step--) {
      client.act();
      await world.loop.pass(world.random.below(12));
    }
    await client.settle();
    await this.#die(false);
    const isRefused = await damageJournal(client);
    if (isRefused) world.disk.restart();
    else await this.#die(false);
  }

  #beginFault(): void {
    const { client, world } = this;
    const { disk, random } = world;
    client.allowed = { reads: true, writes: true };
    if (random.chance(0.2)) {
      // Writes are cut short where it fills up.
      disk.roomUnder = random.pick([STATE, BLOBS]);
      disk.roomBytes = random.below(60_000);
      world.count("disks that fill up");
      return;
    }
    const fault = random.pick(faults);
    const under = random.pick([STATE, BLOBS, "/"]);
    let skipped = random.below(20);
    let left = random.pick([1, 3, Number.POSITIVE_INFINITY]);
    disk.fault = (call, path) => {
      if (!fault.calls.includes(call) || !path.startsWith(under) || skipped-- > 0 || left <= 0) return undefined;
      left--;
      if (call === "sync") this.#syncFailed = true;
      world.count(fault.name);
      return fault.errno;
    };
  }

  #endFault(): void {
    const { disk } = this.world;
    disk.fault = undefined;
    disk.roomBytes = Number.POSITIVE_INFINITY;
  }

  /**
   * A short life, in which power is cut or the process killed at a call of the disk: false where there are not so many
   * calls.
   */
  async crashAtCall(call: number, power: boolean): Promise<boolean> {
    const { client, world } = this;
    const { disk, loop, random } = world;
    await world.prepare();
    disk.losePowerAfter(call);
    const work = async (): Promise<void> => {
      await world.open();
      for (let step = 0; step < 24; step++) {
        client.act();
        if (step % 6 === 5) client.snapshots.act(random.pick(world.settings));
        await loop.pass(random.below(8));
      }
      await client.settle();
      await world.close();
    };
    const ended = await work().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!disk.isOff) {
      if (ended !== undefined) throw ended;
      return false;
    }
    await this.#die(power);
    await this.recover(true, false);
    await world.close();
    return true;
  }

  async run(): Promise<void> {
    const { client, world } = this;
    await world.prepare();
    for (let life = 0; life < LIVES; life++) {
      client.allowed = { reads: false, writes: false };
      await this.recover();
      await this.live();
      client.allowed = { reads: false, writes: false };
      const harm = world.random.below(100);
      if (harm < 15) await this.#damageClosed();
      else if (harm < 30) await this.#damageJournal();
    }
    client.allowed = { reads: false, writes: false };
    await this.recover(true);
    await world.close();
  }
}

/** Runs the life of one seed. Throws where an invariant does not hold. */
export async function runArchive(seed: number, tally: Tally): Promise<void> {
  const run = new ArchiveRun(seed, tally);
  await run.world.running(() => run.run());
}
