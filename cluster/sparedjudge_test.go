package cluster

import "testing"

func TestJudgeSpared(t *testing.T) {
	answer := func(node string, opinions ...grantOpinion) grantAnswer {
		a := grantAnswer{Node: node, Shards: make(map[int]grantOpinion)}
		for shard, o := range opinions {
			a.Shards[shard] = o
		}
		return a
	}
	whole, behind, none := grantOpinion{Holds: true, Whole: true}, grantOpinion{Holds: true}, grantOpinion{}
	for _, c := range []struct {
		name    string
		answers []grantAnswer
		shard   int // that needs the node, negative for none
	}{
		{"nobody else runs", nil, -1},
		{"who answers holds nothing", []grantAnswer{answer("b", none, none)}, -1},
		{"another one has all", []grantAnswer{answer("b", whole, whole)}, -1},
		{"one has all, another one catches up", []grantAnswer{answer("b", behind, whole), answer("c", whole, behind)}, -1},
		{"the only other one catches up", []grantAnswer{answer("b", whole, behind)}, 1},
		{"all others catch up", []grantAnswer{answer("b", behind, whole), answer("c", behind, whole)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			shard, why := judgeSpared([]int{0, 1}, c.answers)
			if why == nil {
				shard = -1
			}
			if shard != c.shard {
				t.Errorf("got shard %d, reason %v, want %d", shard, why, c.shard)
			}
		})
	}
}
