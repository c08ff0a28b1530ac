// The route POST /v1/submissions of the function submit, as a program of its own: it validates a token's claims and a
// body and stores the submission by one conditional put. The call is counted with the score of its submission, or here
// if it stored none.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
)

const largestBody = 256 * 1024

//go:embed phq-9.json
var definition []byte

var fields = []string{"id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"}

type instrument struct {
	ID        string `json:"id"`
	Version   string `json:"version"`
	CodeLists map[string][]struct {
		Code int `json:"code"`
	} `json:"codeLists"`
	Items []struct {
		ID    string `json:"id"`
		Codes string `json:"codes"`
	} `json:"items"`
	hash  []byte
	codes map[string][]int
}

type finding struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

type submission struct {
	id, authoredAt, app, os string
	authored                time.Time
	answers                 map[string]int
	hasDevice               bool
}

type receipt struct {
	ID            string `json:"id"`
	Status        string `json:"status"`
	ReceivedAt    string `json:"receivedAt"`
	Instrument    string `json:"instrument"`
	Version       string `json:"version"`
	CorrelationID string `json:"correlationId"`
}

type problem struct {
	Type          string    `json:"type"`
	Title         string    `json:"title"`
	Status        int       `json:"status"`
	Detail        string    `json:"detail"`
	Errors        []finding `json:"errors,omitempty"`
	CorrelationID string    `json:"correlationId"`
}

type function struct {
	db              *dynamodb.Client
	records, counts string
	phq9            instrument
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx := context.Background()
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	f := &function{db: dynamodb.NewFromConfig(settings), records: os.Getenv("RECORDS_TABLE"), counts: os.Getenv("COUNTS_TABLE")}
	if err := f.load(); err != nil {
		panic(err)
	}
	// Opens the connection while Lambda gives a whole processor.
	key := map[string]types.AttributeValue{"pk": text("WARM-UP"), "sk": text("WARM-UP")}
	_, _ = f.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &f.records, Key: key})
	lambda.Start(f.handle)
}

func (f *function) load() error {
	if err := json.Unmarshal(definition, &f.phq9); err != nil {
		return err
	}
	hash := sha256.Sum256(definition)
	f.phq9.hash = hash[:]
	f.phq9.codes = map[string][]int{}
	for _, item := range f.phq9.Items {
		for _, code := range f.phq9.CodeLists[item.Codes] {
			f.phq9.codes[item.ID] = append(f.phq9.codes[item.ID], code.Code)
		}
	}
	return nil
}

func (f *function) handle(ctx context.Context, event events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	correlation := event.Headers["x-correlation-id"]
	if correlation == "" {
		correlation = event.RequestContext.RequestID
	}
	status, location, body := f.post(ctx, event, correlation)
	slog.Info("submission_received", "correlation_id", correlation, "status", status)
	kind := "application/json"
	if status >= 300 {
		kind = "application/problem+json"
	}
	headers := map[string]string{"content-type": kind, "x-correlation-id": correlation, "cache-control": "no-store"}
	if location != "" {
		headers["location"] = location
	}
	encoded, err := json.Marshal(body)
	return events.APIGatewayV2HTTPResponse{StatusCode: status, Headers: headers, Body: string(encoded)}, err
}

func (f *function) post(ctx context.Context, event events.APIGatewayV2HTTPRequest, correlation string) (int, string, any) {
	refuse := func(status int, kind string, found ...finding) (int, string, any) {
		return status, "", problem{"urn:epro:problem:" + kind, kind, status, "see the contract", found, correlation}
	}
	authorizer := event.RequestContext.Authorizer
	if authorizer == nil || authorizer.JWT == nil {
		return refuse(401, "unauthenticated")
	}
	claims := authorizer.JWT.Claims
	if claims["token_use"] != "access" || claims["sub"] == "" || claims["iss"] == "" || claims["study"] == "" {
		return refuse(401, "unauthenticated")
	}
	sites := strings.Fields(claims["sites"])
	if !slices.Contains(strings.Fields(claims["scope"]), "submissions:write") || claims["role"] != "patient" ||
		claims["patient"] == "" || len(sites) != 1 {
		return refuse(403, "forbidden")
	}
	if kind, _, err := mime.ParseMediaType(event.Headers["content-type"]); err != nil || kind != "application/json" {
		return refuse(415, "unsupported-media-type")
	}
	if len(event.Body) > largestBody {
		return refuse(413, "too-large")
	}
	request := ""
	if invocation, ok := lambdacontext.FromContext(ctx); ok {
		request = invocation.AwsRequestID
	}
	status, location, body := f.accept(ctx, event, claims, sites[0], correlation, refuse)
	// One that is stored, or may be, is counted by the transaction that scores it.
	if status != 202 && status != 503 {
		f.countCall(ctx, claims["study"], sites[0], request)
	}
	return status, location, body
}

type refusal func(status int, kind string, found ...finding) (int, string, any)

func (f *function) accept(ctx context.Context, event events.APIGatewayV2HTTPRequest, claims map[string]string, site, correlation string, refuse refusal) (int, string, any) {
	sent, found := f.read([]byte(event.Body))
	if len(found) > 0 {
		return refuse(422, "invalid", found...)
	}
	now := time.Now().UTC()
	digest := sent.digest(f.phq9)
	item := f.item(sent, claims, site, digest, correlation, now)
	_, err := f.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &f.records,
		Item:                                item,
		ConditionExpression:                 aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	location := "/v1/submissions/" + sent.id
	made := receipt{sent.id, "queued", now.Format(time.RFC3339Nano), f.phq9.ID, f.phq9.Version, correlation}
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return 202, location, made
	case errors.As(err, &failed) && bytes.Equal(bytesOf(failed.Item["nonce"]), bytesOf(item["nonce"])):
		return 202, location, made
	case errors.As(err, &failed) && bytes.Equal(bytesOf(failed.Item["digest"]), digest):
		made.ReceivedAt, made.CorrelationID = textOf(failed.Item["received_at"]), textOf(failed.Item["correlation_id"])
		return 200, location, made
	case errors.As(err, &failed):
		return refuse(409, "submission-conflict")
	default:
		slog.Error("submission_not_confirmed", "error", err.Error())
		return refuse(503, "outcome-unknown")
	}
}

// read returns the submission in a body, or all that is wrong with it.
func (f *function) read(body []byte) (submission, []finding) {
	var sent submission
	var found []finding
	report := func(pointer, code string) { found = append(found, finding{pointer, code, "see the contract"}) }
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return sent, []finding{{"", "json.syntax", "the body is not a JSON object"}}
	}
	for name := range object {
		if !slices.Contains(fields, name) {
			report("/"+name, "field.unknown")
		}
	}
	text := func(name string) string {
		var value *string
		if err := json.Unmarshal(object[name], &value); object[name] != nil && err != nil {
			report("/"+name, "field.type")
		} else if value != nil {
			return *value
		}
		return ""
	}
	parsed, err := uuid.Parse(text("id"))
	if err != nil {
		report("/id", "id.not-a-uuid")
	}
	sent.id = parsed.String()
	if text("instrument") != f.phq9.ID {
		report("/instrument", "instrument.unknown")
	} else if text("version") != f.phq9.Version {
		report("/version", "instrument.version-unknown")
	}
	sent.authoredAt = text("authoredAt")
	if sent.authored, err = time.Parse(time.RFC3339, sent.authoredAt); err != nil {
		report("/authoredAt", "authored-at.format")
	}
	if at := text("sentAt"); at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			report("/sentAt", "sent-at.format")
		}
	}
	var answers map[string]any
	if err := json.Unmarshal(object["answers"], &answers); err != nil || answers == nil {
		report("/answers", "field.type")
	}
	sent.answers = map[string]int{}
	for id, answer := range answers {
		codes, known := f.phq9.codes[id]
		number, isNumber := answer.(float64)
		switch {
		case !known:
			report("/answers/"+id, "item.unknown")
		case answer == nil:
		case !isNumber:
			report("/answers/"+id, "item.type")
		case number != float64(int(number)) || !slices.Contains(codes, int(number)):
			report("/answers/"+id, "item.code")
		default:
			sent.answers[id] = int(number)
		}
	}
	if device := object["device"]; device != nil && string(device) != "null" {
		var parts map[string]any
		if err := json.Unmarshal(device, &parts); err != nil {
			report("/device", "field.type")
		}
		sent.hasDevice = true
		sent.app, _ = parts["app"].(string)
		sent.os, _ = parts["os"].(string)
	}
	return sent, found
}

func (s submission) digest(of instrument) []byte {
	canonical, _ := json.Marshal([]any{s.id, of.ID, of.Version, s.authoredAt, s.answers, s.app, s.os})
	hash := sha256.Sum256(canonical)
	return hash[:]
}

func (f *function) item(s submission, claims map[string]string, site string, digest []byte, correlation string, now time.Time) map[string]types.AttributeValue {
	const sortable = "2006-01-02T15:04:05.000000000Z"
	nonce := uuid.New()
	answers := map[string]types.AttributeValue{}
	for id, code := range s.answers {
		answers[id] = &types.AttributeValueMemberN{Value: strconv.Itoa(code)}
	}
	item := map[string]types.AttributeValue{
		"pk":    text("PATIENT#" + claims["study"] + "#" + claims["patient"]),
		"sk":    text("SUBMISSION#" + s.id),
		"kind":  text("submission"),
		"study": text(claims["study"]), "site": text(site), "patient": text(claims["patient"]), "id": text(s.id),
		"instrument": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
			"id": text(f.phq9.ID), "version": text(f.phq9.Version), "hash": binary(f.phq9.hash),
		}},
		"answers":      &types.AttributeValueMemberM{Value: answers},
		"authored_at":  text(s.authoredAt),
		"effective_at": text(s.authored.UTC().Format(sortable)),
		"received_at":  text(now.Format(time.RFC3339Nano)),
		"sub":          text(claims["sub"]), "iss": text(claims["iss"]),
		"digest":         binary(digest),
		"correlation_id": text(correlation),
		"counts_call":    &types.AttributeValueMemberBOOL{Value: true},
		"nonce":          binary(nonce[:]),
		"pending":        text(fmt.Sprintf("PENDING#%d", digest[0]%8)),
		"pending_since":  text(now.Format(sortable)),
	}
	if s.hasDevice {
		item["device"] = &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"app": text(s.app), "os": text(s.os)}}
	}
	return item
}

func (f *function) countCall(ctx context.Context, study, site, request string) {
	hash := sha256.Sum256([]byte(request))
	key := fmt.Sprintf("COUNT#%s#%s#api_calls#%d", study, site, hash[0]%10)
	_, err := f.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: aws.String(hex.EncodeToString(hash[:18])),
		TransactItems: []types.TransactWriteItem{{Update: &types.Update{
			TableName:                 &f.counts,
			Key:                       map[string]types.AttributeValue{"pk": text(key)},
			UpdateExpression:          aws.String("ADD #n :calls"),
			ExpressionAttributeNames:  map[string]string{"#n": "api_calls"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":calls": &types.AttributeValueMemberN{Value: "1"}},
		}}},
	})
	if err != nil {
		slog.Warn("api_call_not_counted", "error", err.Error())
	}
}

func text(value string) types.AttributeValue {
	return &types.AttributeValueMemberS{Value: value}
}

func binary(value []byte) types.AttributeValue {
	return &types.AttributeValueMemberB{Value: value}
}

func bytesOf(value types.AttributeValue) []byte {
	if binary, ok := value.(*types.AttributeValueMemberB); ok {
		return binary.Value
	}
	return nil
}

func textOf(value types.AttributeValue) string {
	if text, ok := value.(*types.AttributeValueMemberS); ok {
		return text.Value
	}
	return ""
}
