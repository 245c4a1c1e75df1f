package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"dynproxy/internal/panics"
	"dynproxy/internal/sealed"
)

const (
	askWithin   = 1500 * time.Millisecond // the answers of others are waited for
	answersFor  = 10 * time.Second        // they lie in Redis
	lookForThem = 25 * time.Millisecond
	mostAnswer  = 4 << 20 // bytes of one proxy's
)

// question is what is told to all.
type question struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Content json.RawMessage `json:"content"`
}

const newsQuestion = "question"

// Answers has what other proxies ask answered: by f of the question's content,
// which returns what to say as JSON, or nil to say nothing. It is set before
// Run, for all kinds at once.
func (v *Vault) Answers(f func(ctx context.Context, kind string, content []byte) any) {
	v.client.Hear(newsQuestion, func(payload []byte) {
		q, ok := Unsealed[question](v, newsQuestion, payload)
		if !ok {
			return
		}
		go v.answer(q, f) // ends with the time for answers
	})
}

func (v *Vault) answer(q question, f func(context.Context, string, []byte) any) {
	defer panics.Recover(v.client.log, "answer to another proxy", nil)
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	text, err := json.Marshal(f(ctx, q.Kind, q.Content))
	key, open := v.key("answers")
	if err != nil || !open || len(text) > mostAnswer {
		text = []byte("null")
	}
	place := v.client.Key("ask:"+q.ID, "answers")
	do(ctx, v.client, func(ctx context.Context, r redis.UniversalClient) (any, error) {
		if err := r.HSet(ctx, place, v.client.name, key.Seal(text, q.ID)).Err(); err != nil {
			return nil, err
		}
		return nil, r.PExpire(ctx, place, answersFor).Err()
	})
}

// Ask asks every other proxy and returns what they answer, by name. Who does not
// answer in time is among the missing. Alone, there is nobody to ask.
func Ask[T any](ctx context.Context, v *Vault, kind string, content any) (answers map[string]T, missing []string) {
	c := v.client
	key, open := v.key("answers")
	others := c.others()
	if !open || len(others) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(content)
	q := question{ID: randomID(), Kind: kind, Content: text}
	if err != nil || v.TellSealed(ctx, newsQuestion, q) != nil {
		return nil, others
	}
	within, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answers = make(map[string]T)
	for len(answers) < len(others) && within.Err() == nil {
		time.Sleep(lookForThem)
		got, err := do(within, c, func(ctx context.Context, r redis.UniversalClient) (map[string]string, error) {
			return r.HGetAll(ctx, c.Key("ask:"+q.ID, "answers")).Result()
		})
		if err != nil {
			break
		}
		take(answers, got, q.ID, key)
	}
	for _, name := range others {
		if _, answered := answers[name]; !answered {
			missing = append(missing, name)
		}
	}
	return answers, missing
}

// take opens those answers that are new.
func take[T any](answers map[string]T, got map[string]string, id string, key sealed.Key) {
	for name, text := range got {
		if _, known := answers[name]; known {
			continue
		}
		var value T
		if plain, err := sealed.Open([]byte(text), id, key); err == nil && json.Unmarshal(plain, &value) == nil {
			answers[name] = value
		}
	}
}

// others are the names of the other members that were seen lately.
func (c *Client) others() []string {
	if !c.usable() {
		return nil
	}
	var all []string
	for _, m := range c.Members() {
		if !m.Self && time.Since(m.Seen) < memberFor {
			all = append(all, m.Name)
		}
	}
	slices.Sort(all)
	return all
}
