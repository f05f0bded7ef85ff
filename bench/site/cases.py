"""Cases L1 to L10 of peers.md section 8, the bounds of its section 2.1 and the bars of design.md section 4."""
import dataclasses

from network import MTU_FRAME, MTU_PAYLOAD

RTT = 0.1
SPREAD = 0.05  # seconds over which "at once" is spread
LAN_HOP = 0.001


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    what: str
    nodes: int
    wan: float  # Mbit/s
    lan: float
    image: str = "lab-app"
    pullers: tuple = ()      # nodes; all that live when empty
    stagger: float = 0       # seconds from the first start to the last one
    slow: dict = dataclasses.field(default_factory=dict)  # node: its Mbit/s
    dead: tuple = ()         # listed as members, and nobody there
    kill_at: float = 0       # seconds after the start: the node that uploaded most is killed
    bar: float = 0           # makespan over bound; 0: printed only
    wan_bar: float = 0       # copies that upstream writes; 0: printed only
    keeps_nothing: bool = False
    short_wan_bar: float = 1.10

    def pulling(self):
        return [i for i in self.pullers or range(self.nodes) if i not in self.dead]

    def healthy(self):
        return [i for i in self.pulling() if i not in self.slow]

    def scaled(self, scale, slower=1):
        """The same with an image `scale` times smaller and links `slower` times slower: every time of it as well."""
        return dataclasses.replace(self, stagger=self.stagger * slower / scale, kill_at=self.kill_at * slower / scale, wan=self.wan / slower,
                                   lan=self.lan / slower, slow={node: rate / slower for node, rate in self.slow.items()})


CASES = [
    Case("L1", "WAN-bound", 8, 50, 200, bar=1.08, wan_bar=1.02),
    Case("L2", "WAN-bound", 16, 50, 200, bar=1.10, wan_bar=1.02),
    Case("L3", "LAN-bound", 8, 200, 50, wan_bar=1.02),
    Case("L4", "LAN-bound", 16, 200, 50, bar=1.6, wan_bar=1.02),
    Case("L5", "big image", 8, 100, 100, image="lab-big", bar=1.15, wan_bar=1.02),
    Case("L6", "staggered 20 s", 8, 50, 200, stagger=20, wan_bar=1.02),
    Case("L7", "3 of 12 pull", 12, 50, 200, pullers=(1, 5, 9), bar=1.08, wan_bar=1.02, keeps_nothing=True),
    Case("L8", "node 3 at 1/20", 8, 50, 200, slow={3: 10}, bar=1.75),
    Case("L9", "busiest killed at 8 s", 8, 50, 200, kill_at=8, bar=1.16, short_wan_bar=1.5),
    Case("L10", "2 of 16 dead, listed", 16, 50, 200, dead=(4, 11), bar=1.08),
]


def seconds_for(size, rate):
    """How long `size` bytes of payload take on a link of `rate` Mbit/s."""
    return size * 8 * MTU_FRAME / MTU_PAYLOAD / (rate * 1e6)


def bound(case, size, starts):
    """The least possible makespan, from the first start to the last end (peers.md 2.1)."""
    first, last = min(starts), max(starts)
    wan = RTT + seconds_for(size, min(case.wan, case.lan))
    lan = (last - first) + seconds_for(size, case.lan) + LAN_HOP
    return max(wan, lan) if case.stagger else wan
