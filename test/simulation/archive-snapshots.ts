/** Snapshots of an archive's volumes and what is made of them: what each has to hold, from then on and for ever. */
import type { Snapshot } from "../../src/storage/cas/snapshot.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { allExtents } from "../support/storage-requests.ts";
import type { ArchiveClient } from "./archive-client.ts";
import { VolumeModel } from "./archive-model.ts";
import type { VolumeSetting } from "./archive-world.ts";

const MOST_VOLUMES = 5;
const GROWN_MOST_SECTORS = 700;

interface KnownSnapshot {
  readonly setting: VolumeSetting;
  readonly description: string;
  /** The position that the volume has to have had: what was accepted before is in it. */
  readonly least: number;
  /** Nothing that was accepted after is in it. */
  most: number;
  /** Undefined: nobody has said that it was made. */
  id: string | undefined;
  /** As it was found when it was read for the first time, and was right. */
  content: Uint32Array | undefined;
}

interface WantedClone {
  readonly setting: VolumeSetting;
  readonly content: Uint32Array;
}

export class SnapshotBook {
  #known: KnownSnapshot[] = [];
  #clones: WantedClone[] = [];
  readonly #restoring = new Set<VolumeSetting>();
  #count = 0;

  constructor(readonly client: ArchiveClient) {}

  /** Asks for something, at random. */
  act(setting: VolumeSetting): void {
    const { random, settings } = this.client.world;
    const choice = random.below(100);
    const verified = this.#of(setting).filter(({ content }) => content !== undefined);
    if (choice < 50 || verified.length === 0) this.#create(setting);
    else if (choice < 70 && !this.#restoring.has(setting)) this.#restore(random.pick(verified));
    else if (choice < 80 && settings.length + this.#clones.length < MOST_VOLUMES) this.#clone(random.pick(verified));
    else if (setting.sectorCount < GROWN_MOST_SECTORS) this.#grow(setting);
  }

  /** Looks at something that is not known yet, or known already, at random. Everything may go on meanwhile. */
  async look(): Promise<void> {
    const { world } = this.client;
    const { random } = world;
    const fresh = this.#known.find(({ id, content }) => id !== undefined && content === undefined);
    if (fresh !== undefined) {
      await this.#verify(fresh);
      return;
    }
    const setting = random.pick(world.settings);
    const verified = this.#of(setting).filter(({ content }) => content !== undefined);
    if (random.chance(0.5) || verified.length < 2) await this.#lookAtPresent(setting);
    else await this.#compare(random.pick(verified), random.pick(verified));
  }

  /**
   * After a recovery, before the models go on from there: the store has the snapshots that were made, no others, and they
   * hold what they have to. `all`: those too that were read before.
   */
  async verifyRecovered(all: boolean): Promise<void> {
    const { world } = this.client;
    this.#restoring.clear();
    for (const setting of world.settings) this.#match(setting, world.archive!.snapshots(setting.name));
    this.#known = this.#known.filter(({ id }) => id !== undefined);
    for (const snapshot of this.#known) if (all || snapshot.content === undefined) await this.#verify(snapshot);
    for (const { setting, content } of this.#clones) {
      if (!world.archive!.volumes.includes(setting.name)) continue;
      await world.openVolume(setting);
      this.#keepClone(setting, content);
    }
    this.#clones = [];
  }

  /** Throws where one that was made is not among those that an archive lists. */
  expectAll(listed: (volume: string) => readonly Snapshot[]): void {
    for (const { setting, id, description } of this.#known) {
      if (id === undefined || listed(setting.name).some((snapshot) => snapshot.id === id)) continue;
      throw new Error(`snapshot "${description}" of ${setting.name} was made, and another host does not have it`);
    }
  }

  /** Reads every snapshot of an archive that was damaged, one of whose records may be lost. */
  async lookAtDamaged(
    lostRecord: string | undefined,
    compare: (content: Uint32Array, found: Uint32Array, blockBytes: number, what: string) => Promise<void>,
  ): Promise<void> {
    const { world } = this.client;
    for (const { setting, id, description, content } of this.#known) {
      const what = `snapshot "${description}" of ${setting.name}`;
      if (!world.archive!.snapshots(setting.name).some((snapshot) => snapshot.id === id)) {
        if (lostRecord === undefined) throw new Error(`${what} is not listed`);
        continue;
      }
      const root = await world.loop.until("opening a root", world.archive!.openRoot(setting.name, id));
      await compare(content!, await world.readAll(root, setting.blockBytes), setting.blockBytes, what);
      await world.loop.until("closing a root", root.close());
    }
  }

  #of(setting: VolumeSetting): KnownSnapshot[] {
    return this.#known.filter((snapshot) => snapshot.setting === setting);
  }

  /** Finds out which of the snapshots that were asked for the store has. */
  #match(setting: VolumeSetting, found: readonly Snapshot[]): void {
    const known = this.#of(setting);
    for (const { id, description } of found) {
      const match =
        known.find((snapshot) => snapshot.id === id) ??
        known.find((snapshot) => snapshot.id === undefined && snapshot.description === description);
      if (match === undefined) throw new Error(`${setting.name} has snapshot "${description}", which nobody made`);
      match.id = id;
    }
    const lost = known.find(({ id }) => id !== undefined && !found.some((snapshot) => snapshot.id === id));
    if (lost !== undefined) throw new Error(`snapshot "${lost.description}" of ${setting.name} is lost`);
  }

  #begin(setting: VolumeSetting, description: string): KnownSnapshot {
    const least = this.client.model(setting).position;
    const begun = { setting, description, least, most: Number.POSITIVE_INFINITY, id: undefined, content: undefined };
    this.#known.push(begun);
    return begun;
  }

  #create(setting: VolumeSetting): void {
    const { client } = this;
    const model = client.model(setting);
    const snapshot = this.#begin(setting, `number ${++this.#count}`);
    client.track("a snapshot", client.world.archive!.createSnapshot(setting.name, snapshot.description), ({ id }) => {
      snapshot.id = id;
      snapshot.most = model.position;
      model.makePublished(snapshot.least);
      client.world.count("snapshots");
    });
  }

  #restore({ setting, id, content }: KnownSnapshot): void {
    const { client } = this;
    const { world } = client;
    const model = client.model(setting);
    const before = this.#begin(setting, `before restoring ${id}`);
    const restored = new Uint32Array(setting.sectorCount);
    restored.set(content!);
    const change = model.call(0, setting.sectorCount, restored);
    this.#restoring.add(setting);
    const restoring = world.archive!.restore(setting.name, id!.slice(0, world.random.pick([12, 16])));
    client.track("a restore", restoring, (done) => {
      this.#restoring.delete(setting);
      before.id = done.before.id;
      before.most = model.position;
      model.acceptWaitedFor(change);
      model.makePublished(change.accepted);
      world.count("restores");
    });
  }

  #clone({ setting: origin, id, content }: KnownSnapshot): void {
    const { client } = this;
    const { archive, settings } = client.world;
    const tag = settings.length + this.#clones.length;
    const { blockBytes } = origin;
    const setting: VolumeSetting = {
      name: `clone.${++this.#count}`,
      tag,
      blockBytes,
      sectorCount: content!.length,
      sync: { kind: "none" },
    };
    const wanted = { setting, content: content! };
    this.#clones.push(wanted);
    client.track("a clone", archive!.clone(origin.name, id!, setting.name), () => {
      client.track("opening a clone", client.world.addVolume(setting), () => {
        this.#clones.splice(this.#clones.indexOf(wanted), 1);
        this.#keepClone(setting, content!);
      });
    });
  }

  #keepClone(setting: VolumeSetting, content: Uint32Array): void {
    const { models, world } = this.client;
    const model = new VolumeModel(content.length, () => world.loop.elapsedMs);
    model.adopt(content);
    models.set(setting.name, model);
    world.settings.push(setting);
    world.count("clones");
  }

  #grow(setting: VolumeSetting): void {
    const { client } = this;
    const { archive, random } = client.world;
    const sectorCount = setting.sectorCount + 1 + random.below(100);
    client.track("growing", archive!.grow(setting.name, sectorCount * SECTOR_BYTES), () => {
      if (sectorCount <= setting.sectorCount) return;
      setting.sectorCount = sectorCount;
      client.model(setting).grow(sectorCount);
      client.world.count("volumes grown");
    });
  }

  /** Reads a snapshot, and compares it with what it was, or finds out what it is. */
  async #verify(snapshot: KnownSnapshot): Promise<void> {
    const { setting, description, id, least, most } = snapshot;
    const found = await this.#readRoot(setting, id);
    if (snapshot.content === undefined) {
      if (this.client.model(setting).positionOf(found, least, most) === undefined) {
        throw new Error(`snapshot "${description}" of ${setting.name} is not what it was between ${least} and ${most}`);
      }
      snapshot.content = found;
    } else if (
      found.length !== snapshot.content.length ||
      found.some((version, at) => version !== snapshot.content![at])
    ) {
      throw new Error(`snapshot "${description}" of ${setting.name} is not what it was`);
    }
    this.client.world.count("snapshots verified");
  }

  /** The present as a root, which a checkpoint is made for. */
  async #lookAtPresent(setting: VolumeSetting): Promise<void> {
    const model = this.client.model(setting);
    const least = model.position;
    let most = least;
    const found = await this.#readRoot(setting, undefined, () => void (most = model.position));
    if (model.positionOf(found, least, most) === undefined) {
      throw new Error(`the root of ${setting.name} is not what it was between ${least} and ${most}`);
    }
  }

  async #readRoot(setting: VolumeSetting, id: string | undefined, onOpen = (): void => {}): Promise<Uint32Array> {
    const { world } = this.client;
    const root = await world.loop.until("opening a root", world.archive!.openRoot(setting.name, id));
    onOpen();
    try {
      const found = await world.readAll(root, setting.blockBytes);
      const allocated = new Uint8Array(found.length);
      await world.loop.until(
        "finding what is not a hole",
        (async () => {
          let sector = 0;
          for (const { sectorCount, isHole } of await allExtents(root)) {
            if (!isHole) allocated.fill(1, sector, sector + sectorCount);
            sector += sectorCount;
          }
        })(),
      );
      const odd = found.findIndex((version, sector) => version !== 0 && allocated[sector] === 0);
      if (odd >= 0) throw new Error(`sector ${odd} of a root of ${setting.name} is said to be a hole`);
      return found;
    } finally {
      await world.loop.until("closing a root", root.close());
    }
  }

  /** Every block that differs is in the diff, and no other. */
  async #compare(from: KnownSnapshot, to: KnownSnapshot): Promise<void> {
    const { world } = this.client;
    const { name, blockBytes } = from.setting;
    const blockSectors = blockBytes / SECTOR_BYTES;
    const sectorCount = Math.max(from.content!.length, to.content!.length);
    const blocks = new Set<number>();
    for (let sector = 0; sector < sectorCount; sector++) {
      if ((from.content![sector] ?? 0) !== (to.content![sector] ?? 0)) blocks.add(Math.floor(sector / blockSectors));
    }
    const told = new Set<number>();
    await world.loop.until(
      "a diff",
      (async () => {
        for await (const range of world.archive!.diff(name, from.id!, to.id!)) {
          const end = range.sector + range.sectorCount;
          for (let sector = range.sector; sector < end; sector++) told.add(Math.floor(sector / blockSectors));
        }
      })(),
    );
    if (told.size !== blocks.size || [...told].some((block) => !blocks.has(block))) {
      throw new Error(`the diff of ${name} tells of ${told.size} blocks where ${blocks.size} differ`);
    }
    world.count("diffs");
  }
}
